/**
 * Files with secrets: read only if nobody else could read or write them, and written so that a crash leaves the old or
 * the new file. The open file is checked, so that the checked file is the one that is read.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { dirname } from 'node:path';
import { geteuid } from 'node:process';
import { ensure, IdentityError, refusalOf } from '../ground/errors.ts';
import { systemSentence } from '../text/system-sentence.ts';
import { ensureLinks, ownOwners } from '../unix/files/links.ts';
import { syncFolder } from '../unix/files/sync-folder.ts';
import { readOpenFile } from '../unix/files/whole-file.ts';

const OTHERS = 0o077;
/** O_NOFOLLOW is not used: Kubernetes and systemd give secrets as links. Who owns the link is checked instead. */
const READ = fs.constants.O_RDONLY | fs.constants.O_NONBLOCK;

/** Throws file_mode when others may have read or put it there, and file. Blocks. */
export function readProtectedFile(path: string, maxBytes: number): Uint8Array {
  const fd = open(path);
  try {
    const found = fs.fstatSync(fd);
    ensure(found.isFile(), 'file', `${path} is not a file`);
    ensure(
      (found.mode & OTHERS) === 0,
      'file_mode',
      `${path} is open to others: mode ${mode(found)}; chmod go-rwx ${path}`,
    );
    ensure(isTrusted(found.uid), 'file_mode', `${path} belongs to uid ${found.uid}`);
    ensureLinks(path, ownOwners('file_mode'));
    ensure(found.size <= maxBytes, 'file', `${path} has ${found.size} bytes, at most ${maxBytes}`);
    return readOpenFile(fd, { maxBytes, code: 'file' });
  } finally {
    fs.closeSync(fd);
  }
}

/** Who may read the file as it appears; the process's own user and group by default. */
export interface FileOwner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Written beside `path` under a name of its own, synced, given its mode and owner, and only then renamed over it; the
 * folder is synced last. Throws file. Blocks.
 */
export function writeFileAtomic(path: string, bytes: Uint8Array, fileMode: number, owner?: FileOwner): void {
  const temporary = temporaryOf(path);
  try {
    const fd = fs.openSync(temporary, 'wx', 0o600);
    try {
      fs.writeFileSync(fd, bytes);
      if (owner !== undefined) fs.fchownSync(fd, owner.uid, owner.gid);
      fs.fchmodSync(fd, fileMode);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(temporary, path);
    syncFolder(dirname(path));
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw notWritten(path, error);
  }
}

/** As `writeFileAtomic`, beside the event loop. Rejects with file. */
export async function replaceFile(path: string, bytes: Uint8Array, fileMode: number): Promise<void> {
  const temporary = temporaryOf(path);
  try {
    const file = await fs.promises.open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await file.chmod(fileMode);
      await file.sync();
    } finally {
      await file.close();
    }
    await fs.promises.rename(temporary, path);
    const folder = await fs.promises.open(dirname(path), 'r');
    await folder.sync().finally(() => folder.close());
  } catch (error) {
    await fs.promises.rm(temporary, { force: true });
    throw notWritten(path, error);
  }
}

const temporaryOf = (path: string): string => `${path}.${randomBytes(6).toString('hex')}.tmp`;

const notWritten = (path: string, error: unknown): IdentityError =>
  refusalOf(error, 'file', `${path} could not be written: ${systemSentence(error) ?? String(error)}`);

function open(path: string): number {
  try {
    return fs.openSync(path, READ);
  } catch (error) {
    throw new IdentityError('file', `${path} could not be opened`, { cause: error });
  }
}

/** Root could read everything anyway. */
function isTrusted(uid: number): boolean {
  return uid === 0 || uid === geteuid?.();
}

const mode = (found: fs.Stats): string => (found.mode & 0o777).toString(8);
