/**
 * Opens files for writing whose names come from outside. They must be regular files: opening a pipe without a reader
 * would wait for ever.
 */
import fs from 'node:fs';
import type { Refusal } from '../../ground/errors.ts';
import { ensureRegular } from './whole-file.ts';

const { O_APPEND, O_CREAT, O_NOCTTY, O_NONBLOCK, O_WRONLY } = fs.constants;
const PRIVATE = 0o600;

/**
 * Opens a file for appending, or makes it, and sets its mode to 0600. The caller closes it. Throws the code, and what
 * the file system throws; the caller adds the path by `inFile`. Does not wait.
 */
export function openPrivateFile(path: string, code: Refusal): number {
  const before = fs.statSync(path, { throwIfNoEntry: false });
  // Checked before, because opening some devices has an effect, and after, because the name may lead elsewhere by then.
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
