/** A config decides what a program runs and whom it trusts: nobody but root and its user writes it. */
import fs from 'node:fs';
import { getegid, geteuid } from 'node:process';
import { ensure, IdentityError } from '../errors.ts';

const MAX_BYTES = 1024 * 1024;
const [OTHERS_WRITE, GROUP_WRITES] = [0o002, 0o020];

/**
 * The text of a config that belongs to root or to this user and that nobody else may write; a group may where it is the
 * process's own, as a umask of 002 leaves it. `hint` is said where the file is missing. Throws config. Blocks.
 */
export function readConfigFile(path: string, hint: string): string {
  const fd = open(path, hint);
  try {
    const found = fs.fstatSync(fd);
    ensure(
      !found.isDirectory(),
      'config',
      `${path}: a file is expected, found a folder; name the file in it`,
    );
    const others = (found.mode & OTHERS_WRITE) !== 0;
    const group = (found.mode & GROUP_WRITES) !== 0 && found.gid !== getegid?.();
    const mode = (found.mode & 0o777).toString(8);
    ensure(
      !others && !group,
      'config',
      `${path}: others may write it (mode ${mode}), and it decides what is run and trusted: chmod go-w ${path}`,
    );
    const { uid } = found;
    ensure(
      uid === 0 || uid === geteuid?.(),
      'config',
      `${path}: it belongs to uid ${uid}, and this is uid ${geteuid?.()}: run as uid ${uid}, or chown the file`,
    );
    ensure(found.size <= MAX_BYTES, 'config', `${path}: ${found.size} bytes, at most ${MAX_BYTES}`);
    return fs.readFileSync(fd, 'utf8');
  } finally {
    fs.closeSync(fd);
  }
}

function open(path: string, hint: string): number {
  try {
    return fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    const says = missing ? `no such file${hint}` : error instanceof Error ? error.message : String(error);
    throw new IdentityError('config', `${path}: ${says}`, { cause: error });
  }
}
