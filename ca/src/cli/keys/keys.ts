/** `keys rewrap`: another key-encryption key for the key files of this machine, while the CA goes on. */
import { existsSync } from 'node:fs';
import { geteuid } from 'node:process';
import {
  type Command,
  type ExitStatus,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
} from '@chancery/shared/cli/program.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import { type CaSettings, paths, readCaConfig } from '../../config.ts';
import { rewrap } from '../../keys/rewrap.ts';
import { ensureStandbyHere } from '../../keys/standby-here.ts';
import { withKeys } from '../../open-keys.ts';
import { aboutRewrap, type RewrapUse } from '../../operator/backup.ts';
import { openStore } from '../../serve.ts';
import { openSqlite } from '../../store/sqlite/sqlite.ts';
import { Bar } from '../bar.ts';
import { CONFIG_FLAG, configFile, printJson } from '../flags.ts';
import { callOperator } from '../operator/admin.ts';

/** Needs the files themselves, and not a CA that serves. */
export const keys: Command = {
  says:
    'Encrypts all key files under a new key-encryption key, while the CA serves or when it does not run; ' +
    'from `passphrase`, if the config has one; ' +
    'repeat it if it was interrupted. The old key is kept beside it as FILE.before: older backups need it.',
  positionals: 'rewrap',
  words: ['rewrap'],
  flags: {
    'dry-run': { type: 'boolean', says: 'Only look whether each key file opens.' },
    'without-standby': {
      type: 'boolean',
      says: 'Go on while the key of a standby root is away: it stays under the old key.',
    },
    ...CONFIG_FLAG,
    ...JSON_FLAG,
  },
  run(invocation, io) {
    const [verb, ...more] = invocation.positionals;
    if (verb !== 'rewrap' || more.length > 0) throw new MisuseError('expected `rewrap`');
    return rewrapKeys(invocation, io);
  },
};

async function rewrapKeys(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const settings = readCaConfig(configFile(invocation));
  const { keyEncryptionKey: kek, passphrase } = settings;
  const [dryRun, withoutStandby] = [invocation.has('dry-run'), invocation.has('without-standby')];
  await announce({ fromPassphrase: passphrase !== undefined, withoutStandby, dryRun }, settings, invocation);
  const { keys: folder, standbyKeys: standbyFolder } = paths(settings.dataDir);
  const bar = new Bar(invocation.has('json') ? undefined : io);
  const { files, resumed, before } = await rewrap({
    folder,
    standbyFolder,
    kek,
    passphrase,
    dryRun,
    onProgress: (done, of) => bar.show('key files', done, of),
  });
  bar.clear();
  if (invocation.has('json'))
    printJson(io, { keyEncryptionKey: kek, passphrase: passphrase ?? null, files, resumed, before, dryRun });
  else if (dryRun) io.out(`${files} key files open; nothing was changed (dry run)\n`);
  else
    io.out(
      `${files} key files are under the new key in ${kek}${resumed ? ', which an earlier run had begun' : ''}\n` +
        `keep a copy of it elsewhere; ${before} has the old one, which backups of before need: move it away\n` +
        (withoutStandby ? `keys of standby roots that are away need it, too: keep a copy with them\n` : ''),
    );
  return 0;
}

/** Into the audit log, by the CA that serves; if none does, the database is free. */
async function announce(use: RewrapUse, settings: CaSettings, invocation: Invocation): Promise<void> {
  try {
    await callOperator(invocation, (client) => client.rewrapKeys, use);
  } catch (error) {
    if (!isRefusal(error, 'unavailable')) throw error;
    const { database } = paths(settings.dataDir);
    ensure(existsSync(database), 'file', `${database} is missing: restore it first`);
    const store = await openStore(settings, systemClock, openSqlite);
    try {
      if (!use.withoutStandby)
        await withKeys(settings, async (keys) => ensureStandbyHere(await store.authorities(), keys));
      if (use.dryRun) return;
      const by = `uid ${geteuid?.() ?? 'unknown'}, while the CA did not run`;
      await store.append({ type: 'operator.acting', verb: 'rewrapKeys', about: aboutRewrap(use), by });
    } finally {
      await store.close();
    }
  }
}
