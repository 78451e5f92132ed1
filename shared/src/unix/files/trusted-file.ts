/**
 * Files that decide what is run and who is trusted: configs, roots, keys of issuers. Only root and the user of this
 * process may write them, or change where their path leads.
 */
import type fs from 'node:fs';
import { getegid, geteuid } from 'node:process';
import { ensure, type Refusal } from '../../ground/errors.ts';
import { ensureLinks, ownOwners } from './links.ts';
import { type Reading, readWholeFile } from './whole-file.ts';

const [OTHERS_WRITE, GROUP_WRITES] = [0o002, 0o020];

/**
 * Reads a file that belongs to root or to this user, and that nobody else may write. The process's own group may write
 * it, as a umask of 002 leaves it. The mode of the folder is not checked: a ConfigMap's folder is open to all, on a
 * volume that is mounted read-only. Throws as `readWholeFile`. Blocks.
 */
export function readTrustedFile(path: string, reading: Reading): Buffer {
  ensureLinks(path, ownOwners(reading.code));
  const own = geteuid?.() ?? -1;
  return readWholeFile(path, reading, (found) => {
    ensureOthersCannotWrite(found, path, reading.code);
    ensure(
      found.uid === 0 || found.uid === own,
      reading.code,
      `it belongs to uid ${found.uid}, and this is uid ${own}: run as uid ${found.uid}, or chown the file`,
    );
  });
}

/** Throws the code. */
function ensureOthersCannotWrite(found: fs.Stats, path: string, code: Refusal): void {
  const others = (found.mode & OTHERS_WRITE) !== 0;
  const group = (found.mode & GROUP_WRITES) !== 0 && found.gid !== getegid?.();
  const mode = (found.mode & 0o777).toString(8);
  ensure(
    !others && !group,
    code,
    `others may write it (mode ${mode}), and it decides what is run and trusted: chmod go-w ${path}`,
  );
}
