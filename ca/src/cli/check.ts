/** `check`: finds everything that `serve` would refuse, without a running CA and without any change. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, JSON_FLAG } from '@chancery/shared/cli/program.ts';
import { addSeconds, systemClock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { type Log, silentLog } from '@chancery/shared/ground/log.ts';
import { passphraseFileOf, readKek } from '@chancery/shared/keys/kek.ts';
import { openOutbound } from '@chancery/shared/outbound/http.ts';
import { ensurePrivateFolder } from '@chancery/shared/unix/files/safe-folder.ts';
import { ensureNothingElse } from '@chancery/shared/unix/private-socket.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { endOfChain } from '@chancery/shared/x509/verify/cross.ts';
import { attestorsFrom, platformsOf } from '../attestors/index.ts';
import { saysLacking } from '../authority/above.ts';
import {
  ensureInTime,
  ensureRootOf,
  freshIntermediate,
  lastIntermediate,
  NO_ROOT,
  rootOf,
} from '../authority/records.ts';
import { type CaSettings, paths, readBeside, readCaConfig } from '../config.ts';

import type { KeyHomes } from '../keys/homes.ts';
import { isOffline } from '../keys/offline.ts';
import { hasStoodBy } from '../keys/standby-keys.ts';
import { withKeys } from '../open-keys.ts';
import { type ApplyOptions, compileStored } from '../registry/registry.ts';
import { type ResourceFile, readResources, refusedByNow, warnEnded } from '../registry/resources.ts';
import { isInBundle, isStandby } from '../store/authority-states.ts';
import { clockWarning } from '../store/clock-warning.ts';
import { lookAt, type Snapshot } from '../store/sqlite/file/look.ts';
import type { AuthorityRecord } from '../store/store.ts';
import { FILE_FLAG, readFiles } from './files.ts';

import { CONFIG_FLAG, configFile, printJson, printWarnings, SHARED_IDS_FLAG } from './flags.ts';
import { staleListWarning } from './stale-lists.ts';

const STRICT_FLAG = {
  strict: { type: 'boolean', says: 'Treat warnings as errors.' },
} as const;

export const check: Command = {
  says: 'Checks the config, its files and, with -f, resources, and reports every problem. Changes nothing.',
  flags: { ...FILE_FLAG, ...SHARED_IDS_FLAG, ...STRICT_FLAG, ...CONFIG_FLAG, ...JSON_FLAG },
  async run(invocation, io) {
    const settings = readCaConfig(configFile(invocation));
    const files = await readFiles(invocation, io);
    const allowSharedServerIds = invocation.has('allow-shared-server-ids');
    const { resources, warnings, isServing } = await checked(settings, files, { allowSharedServerIds });
    if (invocation.has('strict') && warnings.length > 0)
      throw new IdentityError('config', warnings.join('\n'));
    printWarnings(io, warnings);
    const { file, trustDomain } = settings;
    const platforms = platformsOf(settings.attestors);
    const counted = files.length === 0 ? {} : { resources };
    if (invocation.has('json'))
      printJson(io, { config: file, trustDomain, platforms, ...counted, isServing });
    else {
      const read = files.length === 0 ? '' : `, ${resources} ${resources === 1 ? 'resource' : 'resources'}`;
      io.out(`${file} is good: ${trustDomain}, ${platforms.join(' and ')}${read}\n`);
      if (isServing) io.out(`${SERVING}\n`);
    }
    return 0;
  },
};

const SERVING =
  'a CA serves with this dataDir, so its data was not looked at: chancery-ca rotate status shows its authorities';

/** Returns the number of resources, and warnings. Throws every problem at once, one per line. */
async function checked(settings: CaSettings, files: readonly ResourceFile[], how: ApplyOptions) {
  const { trustDomain, file } = settings;
  const context = { trustDomain, platforms: new Set(platformsOf(settings.attestors)), version: 0, ...how };
  // An attestor reads its files when it is made. It needs memory and network only when it attests.
  const nothing = { advance: async () => {}, bind: async () => {} };
  const outbound = openOutbound();
  const warnings: string[] = [];
  let isServing = false;
  const onServing = (): void => {
    isServing = true;
  };
  const deps = {
    trustDomain,
    memory: nothing,
    readFile: readBeside(file),
    outbound,
    clock: systemClock,
    log: { ...silentLog, warn: (_, message) => void warnings.push(message) } satisfies Log,
  };
  const attempts = [
    () => checkKek(settings, (warning) => warnings.push(warning)),
    () => attestorsFrom(settings.attestors, deps),
    ...dataAttempts(settings, (warning) => warnings.push(warning), onServing),
    () => readResources(files, context),
  ];
  const refusals = (await Promise.all(attempts.map(refusalFrom))).flat();
  outbound.close();
  const [first] = refusals;
  if (first !== undefined)
    throw new IdentityError(first.code, refusals.map(({ message }) => message).join('\n'));
  const read = await readResources(files, context);
  const ended = warnEnded(read, systemClock.now());
  const stale = staleListWarning(settings.crl, read.resources) ?? [];
  const all = [...new Set([...warnings, ...read.warnings, ...ended, ...[stale].flat()])];
  return { resources: read.resources.length, warnings: all, isServing };
}

/** `passphrase` of the config is for keys that are made; the file says where the one in force comes from. */
function checkKek({ keyEncryptionKey: path, passphrase }: CaSettings, warn: (warning: string) => void): void {
  readKek(path);
  const from = passphraseFileOf(path);
  if (from !== passphrase)
    warn(
      `${path} comes from ${from ?? 'no passphrase'}, and the config has ${passphrase ?? 'no passphrase'}: ` +
        'chancery-ca keys rewrap replaces it',
    );
}

async function refusalFrom(attempt: () => unknown): Promise<readonly IdentityError[]> {
  try {
    await attempt();
    return [];
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return [error];
  }
}

/** The checks of `serve` on dataDir, one by one. */
function dataAttempts(
  settings: CaSettings,
  warn: (warning: string) => void,
  onServing: () => void,
): readonly (() => unknown)[] {
  const { dataDir, trustDomain, attestors, audit } = settings;
  const { checkpointCopies: copies } = audit;
  const at = paths(dataDir);
  return [
    () => ensureUsableFolder(dataDir),
    () => {
      if (copies !== undefined && !isFolder(copies)) warn(`audit.checkpointCopies: ${copies} ${NO_COPIES}`);
    },
    () => (isFolder(dataDir) ? [at.admin, at.join] : []).forEach(ensureNothingElse),
    async () => {
      if (!isFolder(dataDir)) return;
      const found = existsSync(at.database) ? lookAt(at.database, at.generation) : NOTHING;
      if (found === undefined) return onServing();
      const now = systemClock.now();
      const clock = clockWarning(found.newestRecordAt, now);
      if (clock !== undefined) warn(clock);
      const root = rootOf(found.authorities);
      ensureRootOf(root, trustDomain);
      if (!found.authorities.some((each) => isStandby(each) && each.state === 'published')) warn(NO_STANDBY);
      for (const each of crossWarnings(found.authorities, now)) warn(each);
      await ensureCanSign(settings, { root, records: found.authorities, now }, warn);
      const platforms = new Set(platformsOf(attestors));
      const { resources } = compileStored(found.registry, { trustDomain, platforms });
      refusedByNow(resources).forEach(warn);
      const stale = staleListWarning(settings.crl, resources);
      if (stale !== undefined) warn(stale);
    },
  ];
}

/** What peers that trust only a CA above will refuse, and soon. */
function crossWarnings(records: Snapshot['authorities'], now: Date): readonly string[] {
  const lacking = saysLacking(records, now);
  const ending = records.filter(isInBundle).flatMap(({ serial, cross }) => {
    const end = cross && endOfChain(cross.chain);
    if (end === undefined || end > addSeconds(now, CROSS_SOON_SECONDS)) return [];
    const ends = `${end <= now ? 'ended' : 'ends'} at ${end.toISOString()}`;
    return [
      `what a CA above has certified of root ${serial} ${ends}: chancery-ca authorities request --above ${serial}`,
    ];
  });
  return [...lacking, ...ending];
}

/** As the alert. */
const CROSS_SOON_SECONDS = 21 * 86_400;

const NO_COPIES =
  'is no folder: while it is missing no checkpoint is copied, and a rewritten log cannot be told from this one. ' +
  'Mount it, or make it';

const NO_STANDBY =
  "no root stands by: if the root's key is stolen, each agent and job that is not connected at that moment needs " +
  'the new bundle by hand, and those that are get it by the stolen key; chancery-ca rotate standby makes one';

const NOTHING: Pick<Snapshot, 'newestRecordAt' | 'authorities' | 'registry'> = {
  newestRecordAt: undefined,
  authorities: [],
  registry: undefined,
};

/** Throws unless an intermediate may sign now and has its key, or the root may make one. */
async function ensureCanSign(
  settings: CaSettings,
  { root, records, now }: Authority,
  warn: (warning: string) => void,
): Promise<void> {
  await withKeys(settings, async (keys) => {
    const choice = { now, keys: keys.intermediate };
    const fresh = await freshIntermediate(records, root, choice);
    ensureInTime(parseCertificate(root.certificate), now);
    if (fresh === undefined && isOffline(root)) {
      const last = await lastIntermediate(records, root, choice);
      const end =
        last === undefined ? 'nothing can be issued' : `it signs until ${last.notAfter.toISOString()}`;
      warn(
        `the root is offline and is asked for the next intermediate (chancery-ca authorities request); ${end}`,
      );
      return;
    }
    const needed = fresh ?? root;
    await keys[needed.kind].load(needed.key);
    if (fresh !== undefined) await warnOfRootKey({ root, fresh, keys }, warn);
    if (
      hasStoodBy(root) &&
      existsSync(join(paths(settings.dataDir).standbyKeys, `${root.key.reference}.key`))
    )
      warn(`${unmoved(root)}: serve moves it; leave that folder in place until then`);
  });
}

interface Signing {
  readonly root: AuthorityRecord;
  readonly fresh: AuthorityRecord;
  readonly keys: KeyHomes;
}

/** All goes well without it until the intermediate is renewed, and then nothing is issued any more. */
async function warnOfRootKey({ root, fresh, keys }: Signing, warn: (warning: string) => void): Promise<void> {
  if (isOffline(root)) return;
  const why = await keys.root.has(root.key).then(
    (isThere) => (isThere ? undefined : 'it is missing'),
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
  const named = `the key of root ${root.serial}, which signs, is not at hand (${root.key.home}): ${why}`;
  const end = `without it nothing is issued from ${fresh.notAfter.toISOString()} on`;
  if (why !== undefined) warn(`${named}; ${end}: bring it back, or restore it from a backup`);
}

const unmoved = ({ serial }: AuthorityRecord): string =>
  `the key of root ${serial}, which stood by and signs now, is still in dataDir/standby, and belongs in dataDir/keys`;

interface Authority {
  readonly root: AuthorityRecord;
  readonly records: readonly AuthorityRecord[];
  readonly now: Date;
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

function ensureUsableFolder(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  ensure(found !== undefined, 'file', `${path} is missing: ${NO_ROOT}`);
  ensure(found.isDirectory(), 'file', `${path}: a folder is expected, found a file`);
  ensurePrivateFolder(path);
  try {
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new IdentityError('file', `${path}: this user may not write in it`, { cause: error });
  }
}
