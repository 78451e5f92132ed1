/** Folders that secrets are written to: only root and the user of this process may change where their path leads. */
import fs from 'node:fs';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { ensure, IdentityError } from '../../ground/errors.ts';
import { ensureLinks, ensureOwner, ownOwners } from './links.ts';
import { makeFolder } from './make-folder.ts';

const OTHERS_WRITE = 0o022;
/** inode(7): only the owner of a file removes it. */
const STICKY = 0o1000;

/** An open folder. Renaming or replacing it does not change what `path` leads to. */
export interface SafeFolder {
  /** Below /proc/self/fd, for as long as the folder is open. */
  readonly path: string;
  /** Closes the folder; `path` leads nowhere from then on. */
  close(): void;
}

/**
 * Makes the folder if it is missing, checks it and every link on its path, and opens it; the caller closes it. Links
 * must belong to root or to this user, since the owner of a link decides where the files go. The folder must belong to
 * one of them, too, and nobody else may write in it. Parents may be open to others, as /tmp is. Throws file, file_mode.
 * Blocks.
 */
export function openSafeFolder(path: string, mode: number): SafeFolder {
  const owners = ownOwners('file_mode');
  ensureLinks(path, owners);
  const fd = makeAndOpen(path, mode);
  try {
    const found = fs.fstatSync(fd);
    ensureOwner(found.uid, path, owners);
    ensureOwn(path, found);
    return { path: `/proc/self/fd/${fd}`, close: () => fs.closeSync(fd) };
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

/**
 * Checks the folder as `openSafeFolder` does, without opening it: for files whose path others must know, such as a
 * database or a socket. Throws file_mode, and what the file system throws if the folder is missing. Blocks.
 */
export function ensurePrivateFolder(path: string): void {
  const owners = ownOwners('file_mode');
  ensureLinks(path, owners);
  const found = fs.statSync(path);
  ensureOwner(found.uid, path, owners);
  ensureOwn(path, found);
}

/** The advice for a shared folder such as /tmp is a subfolder: chmod would close it to everybody else. */
function ensureOwn(path: string, { uid, mode }: fs.Stats): void {
  const isShared = (mode & STICKY) !== 0 || uid !== geteuid?.();
  const advice = isShared
    ? `give a subfolder of it, such as ${join(path, 'chancery')}`
    : `chmod go-w ${path}`;
  const says = `others may write in ${path}: mode ${(mode & 0o7777).toString(8)}; ${advice}`;
  ensure((mode & OTHERS_WRITE) === 0, 'file_mode', says);
}

function makeAndOpen(path: string, mode: number): number {
  try {
    makeFolder(path, mode);
    return fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  } catch (error) {
    throw new IdentityError('file', `the folder ${path} could not be opened: ${String(error)}`, {
      cause: error,
    });
  }
}
