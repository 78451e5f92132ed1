/**
 * Only one process at a time uses a folder, by flock(2) on the folder itself. The lock stays if files in the folder are
 * removed, and the kernel frees it when the process ends. Linux with glibc.
 */
import fs from 'node:fs';
import os from 'node:os';
import { ensure, IdentityError } from '../ground/errors.ts';
import { openLibc } from './libc.ts';

export interface FolderLock {
  /** Frees the lock. Does nothing the second time. */
  close(): Promise<void>;
}

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Locks the folder for this process until it is closed. Undefined if the system or the file system has no such lock.
 * Throws unavailable if another process has it, with its pid if that is known. Does not wait.
 */
export function lockFolder(path: string, advice: string): FolderLock | undefined {
  const libc = quietly(openLibc);
  if (libc === undefined) return undefined;
  const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  if (libc.func('int flock(int, int)')(fd, LOCK_EX | LOCK_NB) === 0) {
    let open = true;
    const close = async (): Promise<void> => {
      if (open) fs.closeSync(fd);
      open = false;
    };
    return { close };
  }
  const errno = libc.errno();
  fs.closeSync(fd);
  ensure(errno !== os.constants.errno.EWOULDBLOCK, 'unavailable', `${usedBy(path)}: ${advice}`);
  return undefined;
}

/** Throws unavailable if /proc/locks shows a process that has locked the folder. Takes no lock. */
export function ensureNotLocked(path: string, advice: string): void {
  if (lockHolder(path) !== undefined) throw new IdentityError('unavailable', `${usedBy(path)}: ${advice}`);
}

function usedBy(path: string): string {
  const pid = lockHolder(path);
  return `another process${pid === undefined ? '' : ` (pid ${pid})`} uses ${path}`;
}

/**
 * The pid of the process that has locked the folder (proc_locks(5)). Undefined if there is none, or if the kernel does
 * not show it, as in containers.
 */
function lockHolder(path: string): number | undefined {
  const found = fs.statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return undefined;
  const lines = quietly(() => fs.readFileSync('/proc/locks', 'latin1').split('\n')) ?? [];
  for (const line of lines) {
    const [, kind, , access, pid, file] = line.split(/\s+/);
    const isLock = kind === 'FLOCK' && access === 'WRITE' && file === `${deviceOf(found.dev)}:${found.ino}`;
    if (isLock && Number(pid) > 0) return Number(pid);
  }
  return undefined;
}

/** Major and minor number, as /proc/locks prints them; makedev(3) interleaves their bits. */
function deviceOf(dev: number): string {
  const device = BigInt(dev);
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
  return [major, minor].map((each) => each.toString(16).padStart(2, '0')).join(':');
}

function quietly<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
