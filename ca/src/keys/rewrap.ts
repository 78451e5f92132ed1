/**
 * Another key-encryption key for all key files, while the CA goes on. The new key is there beside the old one before
 * the first file is encrypted under it, and the old one stays until the last file is: at any moment each file opens
 * under one of those that readers look for (`keksAt`). So a run that was killed is finished by the next.
 */
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { equal } from '@chancery/shared/ground/bytes.ts';
import { ensure, refusalOf } from '@chancery/shared/ground/errors.ts';
import { readKeyFile, writeKeyFile } from '@chancery/shared/keys/file.ts';
import { createKek, readKek } from '@chancery/shared/keys/kek.ts';
import { keksAt, keksBeside } from '@chancery/shared/keys/keks.ts';
import { readProtectedFile, writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';
import { syncFolder } from '@chancery/shared/unix/files/sync-folder.ts';
import { lockFolder } from '@chancery/shared/unix/folder-lock.ts';

export interface RewrapOrder {
  /** The folder with the key files. */
  readonly folder: string;
  /** That of the standby roots, which may have been moved elsewhere. */
  readonly standbyFolder: string;
  /** The path of the key-encryption key. */
  readonly kek: string;
  /** The file of the passphrase that the new key is to come from; none for a random one. */
  readonly passphrase: string | undefined;
  /** Only looks whether each file opens. */
  readonly dryRun: boolean;
  /** Called before each file, with how many are done. */
  readonly onProgress: (done: number, of: number) => void;
}

export interface Rewrapped {
  /** How many key files there are. */
  readonly files: number;
  /** Whether an earlier run had begun. */
  readonly resumed: boolean;
  /** Where the old key is from now on. */
  readonly before: string;
}

const OWNER_ONLY = 0o600;
/** Of a key-encryption key's file. */
const MAX_BYTES = 16 * 1024;

/**
 * Throws file, file_mode if a key file does not open or an older key is still in the way, before anything is changed;
 * unavailable if another run is on.
 */
export async function rewrap(order: RewrapOrder): Promise<Rewrapped> {
  const { folder, kek, dryRun } = order;
  const { next, before } = keksBeside(kek);
  const lock = dryRun ? undefined : lockFolder(folder, 'another run of keys rewrap is on: let it end');
  try {
    const isBegun = fs.existsSync(next);
    if (!dryRun) removeLeftovers(order);
    const files = keyFilesIn(order);
    for (const each of files) readKeyFile(each, keksAt(kek));
    // A run that was killed after it had replaced the key.
    const isLate = !isBegun && files.some((each) => !opensUnder(each, readKek(kek)));
    if (!isLate) ensureNoOther(before, kek);
    const resumed = isBegun || isLate;
    if (dryRun) return { files: files.length, resumed, before };
    if (!resumed) createKek(next, order.passphrase);
    rewrapAll(order);
    if (isLate) return { files: files.length, resumed, before };
    writeFileAtomic(before, readProtectedFile(kek, MAX_BYTES), OWNER_ONLY);
    replace(next, kek);
    // What the CA made between the last look and now is under the key before.
    rewrapAll(order);
    return { files: files.length, resumed, before };
  } finally {
    await lock?.close();
  }
}

/** The key before this one may be all that opens a backup, or a standby key that is elsewhere. Throws file. */
function ensureNoOther(before: string, kek: string): void {
  const isFree = !fs.existsSync(before) || equal(readKek(before), readKek(kek));
  const says = `${before} is the key before this one, and backups and standby keys of its time need it`;
  ensure(isFree, 'file', `${says}: keep it elsewhere, under another name, and move it away first`);
}

function rewrapAll(order: RewrapOrder): void {
  const { kek, onProgress } = order;
  const keks = keksAt(kek);
  const files = keyFilesIn(order);
  for (const [n, path] of files.entries()) {
    onProgress(n, files.length);
    if (!opensUnder(path, keks.newest())) rewrapOne(path, kek);
  }
  onProgress(files.length, files.length);
}

/** The CA may remove a key meanwhile, which must not come back. */
function rewrapOne(path: string, kek: string): void {
  const keks = keksAt(kek);
  try {
    const key = readKeyFile(path, keks);
    const fresh = `${path}.rewrapped`;
    writeKeyFile(fresh, key, keks.newest());
    if (fs.existsSync(path)) fs.renameSync(fresh, path);
    else fs.rmSync(fresh);
    syncFolder(dirname(path));
  } catch (error) {
    if (fs.existsSync(path)) throw error;
  }
}

function opensUnder(path: string, kek: Uint8Array): boolean {
  try {
    readKeyFile(path, kek);
    return true;
  } catch {
    return false;
  }
}

function replace(from: string, to: string): void {
  try {
    fs.renameSync(from, to);
    syncFolder(dirname(to));
  } catch (error) {
    throw refusalOf(error, 'file', `${from} could not take the place of ${to}: ${String(error)}`);
  }
}

/** Of runs that were killed: copies of keys, which would outlive their authorities. */
function removeLeftovers({ folder, standbyFolder }: RewrapOrder): void {
  for (const each of [folder, standbyFolder].filter((path) => fs.existsSync(path)))
    for (const name of fs.readdirSync(each))
      if (name.includes('.key.rewrapped')) fs.rmSync(join(each, name), { force: true });
}

function keyFilesIn({ folder, standbyFolder }: RewrapOrder): readonly string[] {
  ensure(fs.existsSync(folder), 'file', `${folder} is missing: dataDir of the config has no keys yet`);
  return [folder, standbyFolder]
    .filter((each) => fs.existsSync(each))
    .flatMap((each) => fs.readdirSync(each).map((name) => join(each, name)))
    .filter((path) => path.endsWith('.key'));
}
