/** Files that are written under a name from outside: regular ones. Opening a pipe that nobody reads waits for ever. */
import fs from 'node:fs';
import type { Refusal } from '../../ground/errors.ts';
import { ensureRegular } from './whole-file.ts';

const { O_APPEND, O_CREAT, O_NOCTTY, O_NONBLOCK, O_WRONLY } = fs.constants;
const PRIVATE = 0o600;

/**
 * Opens, or makes, a file for appending, and gives it 0600. The caller closes it. Throws the code without the path,
 * which the caller names by `inFile`; and what the file system throws. Does not wait.
 */
export function openPrivateFile(path: string, code: Refusal): number {
  const before = fs.statSync(path, { throwIfNoEntry: false });
  // Some devices act when they are opened. The open file is looked at again, since the name may lead elsewhere by then.
  if (before !== undefined) ensureRegular(before, code);
  const fd = fs.openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY, PRIVATE);
  try {
    ensureRegular(fs.fstatSync(fd), code);
    fs.fchmodSync(fd, PRIVATE);
    return fd;
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}
