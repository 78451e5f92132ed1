/** What `check` looks at in the data folder of a CA that does not serve. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { ensurePrivateFolder } from '@chancery/shared/unix/files/safe-folder.ts';
import { ensureNothingElse } from '@chancery/shared/unix/private-socket.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { platformsOf } from '../../attestors/index.ts';
import {
  ensureInTime,
  ensureRootOf,
  freshIntermediate,
  lastIntermediate,
  NO_ROOT,
  rootOf,
} from '../../authority/records.ts';
import { type CaSettings, paths } from '../../config.ts';
import type { KeyHomes } from '../../keys/homes.ts';
import { isOffline } from '../../keys/offline.ts';
import { standbyKeysHere } from '../../keys/standby-here.ts';
import { hasStoodBy } from '../../keys/standby-keys.ts';
import { withKeys } from '../../open-keys.ts';
import { compileStored } from '../../registry/registry.ts';
import { refusedByNow } from '../../registry/resources.ts';
import { concernsOf } from '../../serving/concerns.ts';
import { clockWarning } from '../../store/clock-warning.ts';
import { lookAt, type Snapshot } from '../../store/sqlite/file/look.ts';
import type { AuthorityRecord } from '../../store/store.ts';
import { staleListWarning } from '../stale-lists.ts';

/** What `serve` will do to the database first. */
export interface Migration {
  readonly from: number;
  readonly to: number;
  /** Of the two large tables, about. */
  readonly rows: number;
}

/** For a person. */
export const migrationLine = ({ from, to, rows }: Migration): string =>
  `serve will change the database from schema ${from} to ${to} first, with about ${rows} rows in its large tables; ` +
  'an older release does not open it afterwards: chancery-ca backup makes a copy of it as it is';

/** The checks of `serve` on dataDir, one by one. */
export function dataAttempts(
  settings: CaSettings,
  warn: (warning: string) => void,
  on: { readonly serving: () => void; readonly migration: (found: Migration) => void },
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
      if (found === undefined) return on.serving();
      if (found.schema < found.schemaOfToday)
        on.migration({ from: found.schema, to: found.schemaOfToday, rows: found.rows });
      const now = systemClock.now();
      const clock = clockWarning(found.newestRecordAt, now);
      if (clock !== undefined) warn(clock);
      const root = rootOf(found.authorities);
      ensureRootOf(root, trustDomain);
      concernsOf(found.authorities, now).forEach(warn);
      await ensureCanSign(settings, { root, records: found.authorities, now }, warn);
      const platforms = new Set(platformsOf(attestors));
      const { resources } = compileStored(found.registry, { trustDomain, platforms });
      refusedByNow(resources).forEach(warn);
      const stale = staleListWarning(settings.crl, resources);
      if (stale !== undefined) warn(stale);
    },
  ];
}

const NO_COPIES =
  'is no folder: while it is missing no checkpoint is copied, and a rewritten log cannot be told from this one. ' +
  'Mount it, or make it';

const NOTHING: Pick<
  Snapshot,
  'schema' | 'schemaOfToday' | 'rows' | 'newestRecordAt' | 'authorities' | 'registry'
> = {
  schema: 0,
  schemaOfToday: 0,
  rows: 0,
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
    for (const why of await whyNoNewKeys(keys)) warn(why);
    for (const each of await standbyKeysHere(records, keys)) warn(each);
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

/** What the next rotation would meet: until then all goes well. */
async function whyNoNewKeys(keys: KeyHomes): Promise<readonly string[]> {
  const found: string[] = [];
  // One after the other: a token is tried with a wrong PIN once.
  for (const kind of ['root', 'intermediate', 'jwt'] as const)
    await keys[kind].ready?.().catch((error: unknown) => {
      if (!isRefusal(error)) throw error;
      found.push(`the next key (${kind}) cannot be made where the config says: ${error.message}`);
    });
  return found.slice(0, 1);
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
