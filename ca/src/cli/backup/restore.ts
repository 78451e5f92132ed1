/** `restore`: makes the data folder of a CA from a backup. */
import { constants, copyFileSync, existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { geteuid } from 'node:process';
import { readIn } from '@chancery/shared/audit-verify/folder.ts';
import { endThough } from '@chancery/shared/cli/process-io.ts';
import {
  type Command,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
} from '@chancery/shared/cli/program.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { CONFIG, saysElsewhere } from '../../backup/manifest.ts';
import { type Restored, restore as restoreFrom } from '../../backup/restore.ts';
import { type CaSettings, readCaConfig } from '../../config.ts';
import { logKeyIn } from '../../open-log.ts';
import { Bar } from '../bar.ts';
import { CONFIG_FLAG, configFile, printJson } from '../flags.ts';

/** Makes a data folder that is missing or empty. */
export const restore = ({ clock }: { readonly clock: Clock }): Command => ({
  says:
    'Makes the data folder of the config from a backup. What was revoked after the backup is taken from a copy of ' +
    'the audit log (--log), or gateways hand it back before anything is issued, or its loss is accepted ' +
    '(--accept-loss).',
  positionals: 'DIR',
  flags: {
    log: {
      type: 'string',
      value: 'DIR',
      says: 'A copy of dataDir/log, the newest that there is: its entries after the backup are put in.',
    },
    'accept-loss': {
      type: 'boolean',
      says: 'Issue at once: what was revoked after the backup counts when an agent hands it back. Needs --reason.',
    },
    reason: { type: 'string', value: 'TEXT', says: 'Why the loss is accepted, for the audit log.' },
    yes: {
      type: 'boolean',
      says: 'Also a backup that is more than a year old by the clock of this machine.',
    },
    'dry-run': { type: 'boolean', says: 'Verify everything, and say what would be restored.' },
    ...CONFIG_FLAG,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const [backup, ...more] = invocation.positionals;
    if (backup === undefined || more.length > 0) throw new MisuseError('expected the folder of one backup');
    const reason = reasonOf(invocation);
    const { settings, isNew } = settingsOf(resolve(backup), invocation);
    const folder = invocation.text('log');
    const bar = new Bar(invocation.has('json') ? undefined : io);
    const restored = await restoreFrom({
      backup: resolve(backup),
      settings,
      log:
        folder === undefined
          ? undefined
          : { read: readIn(resolve(folder)), key: (path, keks) => logKeyIn(path, keks, settings).verifier },
      reason,
      by: `uid ${geteuid?.() ?? 'unknown'}`,
      now: clock.now(),
      isOldAgreed: invocation.has('yes'),
      dryRun: invocation.has('dry-run'),
      onProgress: (what, done, of) => bar.show(what, done, of),
    });
    bar.clear();
    endThough(() => restored.hangs);
    // Last: a config without the folder that it names is in the way of the next try.
    if (isNew && restored.life !== undefined)
      copyFileSync(join(backup, CONFIG), settings.file, constants.COPYFILE_EXCL);
    say({ restored, settings, isNew }, invocation, io);
    return 0;
  },
});

/** Undefined if no loss is accepted. */
function reasonOf(invocation: Invocation): string | undefined {
  const [accepts, log] = [invocation.has('accept-loss'), invocation.text('log')];
  const reason = invocation.text('reason');
  if (accepts && log !== undefined)
    throw new MisuseError('give --log DIR or --accept-loss: what the log says is not lost');
  if (accepts && (reason === undefined || reason.trim() === ''))
    throw new MisuseError('--accept-loss needs --reason TEXT, which the audit log keeps');
  if (!accepts && reason !== undefined) throw new MisuseError('--reason goes with --accept-loss');
  return reason;
}

/** The config that is named, or that of the backup, as it will be where it is named. */
function settingsOf(backup: string, invocation: Invocation): { settings: CaSettings; isNew: boolean } {
  const named = invocation.text('config');
  if (named === undefined || existsSync(named))
    return {
      settings: readCaConfig(configFile(invocation, ', which is made from the backup')),
      isNew: false,
    };
  // Its paths are relative to where it is going to be.
  return { settings: readCaConfig(join(backup, CONFIG), named), isNew: true };
}

const counted = (count: number, one: string, many = `${one}s`): string =>
  `${count} ${count === 1 ? one : many}`;

interface Done {
  readonly restored: Restored;
  readonly settings: CaSettings;
  readonly isNew: boolean;
}

function say({ restored, settings, isNew }: Done, invocation: Invocation, io: Io): void {
  const { manifest, lost, life, holds, standstill } = restored;
  const { dataDir, file } = settings;
  const events = lost.map(({ event }) => JSON.parse(event) as { readonly type: string });
  const of = (type: string): number => events.filter((each) => each.type === type).length;
  const about = {
    entries: lost.length,
    revocations: of('revocation.made'),
    certificates: of('svid.issuing'),
    applied: of('registry.applied'),
    chains: of('authority.crossCertified'),
  };
  if (invocation.has('json')) {
    printJson(io, {
      dataDir,
      backup: manifest.madeAt,
      life: life ?? null,
      keysElsewhere: manifest.keysElsewhere,
      ...about,
      holds,
      standstill: standstill ?? null,
      dryRun: life === undefined,
    });
    return;
  }
  const did = life === undefined ? 'would be restored (dry run)' : `is restored, life ${life}`;
  io.out(`${dataDir} ${did}: ${manifest.trustDomain} as of ${manifest.madeAt}\n`);
  if (isNew) io.out(`${file} is the config of the backup\n`);
  const { entries, revocations, certificates, applied, chains } = about;
  if (entries > 0) {
    const holding = [counted(revocations, 'revocation'), counted(certificates, 'certificate')].join(', ');
    io.out(`from the log: ${counted(entries, 'entry', 'entries')}, ${holding}\n`);
  }
  if (applied > 0)
    io.out(`resources were applied ${counted(applied, 'time')} after the backup: apply the newest again\n`);
  if (chains > 0)
    io.out(
      'a chain from a CA above was imported after the backup: import it again, chancery-ca authorities import\n',
    );
  if (standstill !== undefined) io.out(`${standstill}\n`);
  if (holds)
    io.out(
      'it issues nothing until each gateway has handed back what it knows: see `chancery-ca accept-loss`\n',
    );
  io.out(saysElsewhere(manifest.keysElsewhere));
}
