/**
 * Makes a backup: a folder with the database, the encrypted keys, the config and a manifest. It appears whole or not at
 * all. Not in it: the key-encryption key or the passphrase that it comes from, without which nobody can use the keys,
 * and the files that the config names.
 */
import fs from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure, refusalOf } from '@chancery/shared/ground/errors.ts';
import { ensureSealed } from '@chancery/shared/keys/file.ts';
import { passphraseFileOf } from '@chancery/shared/keys/kek.ts';
import { kekFingerprint } from '@chancery/shared/keys/kek-fingerprint.ts';
import { keksBeside } from '@chancery/shared/keys/keks.ts';
import { writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';
import { systemSentence } from '@chancery/shared/text/system-sentence.ts';
import { syncFolder } from '@chancery/shared/unix/files/sync-folder.ts';
import { type CaSettings, paths } from '../config.ts';
import { hasStoodBy } from '../keys/standby-keys.ts';
import { lookAt, type Snapshot } from '../store/sqlite/file/look.ts';
import type { AuthorityRecord } from '../store/store.ts';
import {
  type BackupFile,
  CONFIG,
  DATABASE,
  DERIVATION,
  digestOf,
  KEYS,
  type KeyElsewhere,
  MANIFEST,
  type Manifest,
} from './manifest.ts';

export interface BackupOrder {
  readonly settings: Pick<CaSettings, 'file' | 'dataDir' | 'trustDomain' | 'keyEncryptionKey'>;
  /** The folder to make. */
  readonly folder: string;
  readonly now: Date;
  /** Copies the database to `paths(dataDir).databaseCopy`. */
  readonly copyDatabase: () => Promise<void>;
}

const OWNER_ONLY = 0o600;

/** Throws backup if the folder is there or a key is missing or not encrypted; file, file_mode, store. */
export async function makeBackup(order: BackupOrder): Promise<Manifest> {
  const { folder } = order;
  ensureFree(folder, order.settings);
  const temporary = `${folder}.tmp`;
  const at = paths(order.settings.dataDir);
  try {
    fs.rmSync(temporary, { recursive: true, force: true });
    fs.mkdirSync(temporary, 0o700);
    fs.mkdirSync(join(temporary, KEYS), 0o700);
    await order.copyDatabase();
    const manifest = await fill(temporary, order);
    fs.renameSync(temporary, folder);
    syncFolder(dirname(folder));
    return manifest;
  } catch (error) {
    fs.rmSync(temporary, { recursive: true, force: true });
    throw refusalOf(
      error,
      'backup',
      `${folder} could not be made: ${systemSentence(error) ?? String(error)}`,
    );
  } finally {
    fs.rmSync(at.databaseCopy, { force: true });
  }
}

/** Throws backup. */
export function ensureFree(folder: string, { dataDir }: Pick<CaSettings, 'dataDir'>): void {
  ensure(!fs.existsSync(folder), 'backup', `${folder} is there already: a backup never writes over one`);
  ensure(fs.existsSync(dirname(folder)), 'backup', `${dirname(folder)} is missing: make it first`);
  ensure(fs.existsSync(dataDir), 'backup', `${dataDir} is missing: there is no CA to back up`);
  const way = relative(fs.realpathSync(dataDir), fs.realpathSync(dirname(folder)));
  const isInside = way !== '..' && !way.startsWith('../');
  ensure(!isInside, 'backup', `${folder} is in ${dataDir}: what is lost with that is no backup`);
}

async function fill(folder: string, { settings, now }: BackupOrder): Promise<Manifest> {
  const at = paths(settings.dataDir);
  const seen = lookAt(at.databaseCopy, undefined);
  ensure(seen !== undefined, 'backup', `${at.databaseCopy} is in use`);
  const keys = await keysOf(seen, folder, at);
  const files = [
    await copied(at.databaseCopy, folder, DATABASE),
    await copied(settings.file, folder, CONFIG),
    ...(isDerived(settings.keyEncryptionKey)
      ? [await copied(settings.keyEncryptionKey, folder, DERIVATION)]
      : []),
    ...keys,
  ];
  const { schema, newestEvent, checkpoint } = seen;
  const manifest: Manifest = {
    format: 1,
    trustDomain: settings.trustDomain,
    madeAt: now.toISOString(),
    schema,
    newestEvent,
    checkpoint: checkpoint === undefined ? null : { size: checkpoint.size, root: checkpoint.root },
    files,
    ...kekOf(settings.keyEncryptionKey),
    keysElsewhere: [...keysElsewhere(seen.authorities, keys)],
  };
  writeFileAtomic(join(folder, MANIFEST), utf8(`${JSON.stringify(manifest, null, 2)}\n`), OWNER_ONLY);
  for (const each of [join(folder, KEYS), folder]) syncFolder(each);
  return manifest;
}

/** While `keys rewrap` runs some keys are under the one and some under the other: the backup names neither. */
function kekOf(path: string): Pick<Manifest, 'kek'> {
  const isOne = fs.existsSync(path) && !fs.existsSync(keksBeside(path).next);
  return isOne ? { kek: kekFingerprint(path) } : {};
}

/** A backup is made without the key-encryption key, too. */
const isDerived = (path: string): boolean => fs.existsSync(path) && passphraseFileOf(path) !== undefined;

/** The copy is older than the folder of keys, which may have lost the key of an intermediate that ended meanwhile. */
async function keysOf(
  { authorities, checkpoint }: Snapshot,
  folder: string,
  at: ReturnType<typeof paths>,
): Promise<readonly BackupFile[]> {
  const inFiles = authorities.filter((each) => isNeeded(each) && each.key.home === 'file');
  const needed = inFiles.map(({ key }) => join(at.keys, `${key.reference}.key`));
  const found = fs.readdirSync(at.keys).filter((name) => name.endsWith('.key'));
  // The CA moves it to the others when it looks next.
  const unmoved = authorities
    .filter(hasStoodBy)
    .map(({ key }) => `${key.reference}.key`)
    .filter((name) => !found.includes(name) && fs.existsSync(join(at.standbyKeys, name)));
  const all = [
    ...found.map((name) => join(at.keys, name)),
    ...unmoved.map((name) => join(at.standbyKeys, name)),
  ];
  const missing = [...needed, ...(checkpoint === undefined ? [] : [at.logKey])].find(
    (key) => !all.includes(key),
  );
  ensure(missing === undefined, 'backup', `${missing} is missing: nobody could restore the backup`);
  const files: BackupFile[] = [];
  for (const key of all) {
    ensureSealed(key);
    files.push(await copied(key, folder, `${KEYS}/${basename(key)}`));
  }
  return files;
}

/** A token is backed up by its own means, and a key service by nobody: the backup names what it counts on. */
const keysElsewhere = (
  authorities: readonly AuthorityRecord[],
  files: readonly BackupFile[],
): readonly KeyElsewhere[] =>
  authorities
    .filter((each) => isNeeded(each) && each.key.home !== 'file')
    // That of a root that stood by until it signed.
    .filter((each) => files.every(({ name }) => name !== `${KEYS}/${each.key.reference}.key`))
    .map(({ kind, serial, key: { home, reference } }) => ({ kind, serial, home, reference }));

/** What signs, or may be made to sign: an intermediate that retires signs revocation lists at most. */
const isNeeded = ({ kind, state }: AuthorityRecord): boolean =>
  kind === 'root' ? state !== 'removed' : state === 'active';

/** Copies one file, 0600, and syncs it. */
async function copied(from: string, folder: string, name: string): Promise<BackupFile> {
  const to = join(folder, name);
  fs.copyFileSync(from, to, fs.constants.COPYFILE_EXCL);
  fs.chmodSync(to, OWNER_ONLY);
  const fd = fs.openSync(to, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  return { name, ...(await digestOf(to, () => {})) };
}
