/**
 * Reads whole files whose names come from outside. They must be regular files, and are read up to a bound: opening a
 * named pipe can wait for ever, a device has no end, and a file can grow while it is read.
 */
import fs from 'node:fs';
import { ensure, IdentityError, isRefusal, type Refusal } from '../../ground/errors.ts';
import { systemSentence } from '../../text/system-sentence.ts';

export interface Reading {
  readonly maxBytes: number;
  /** The code of the refusal. */
  readonly code: Refusal;
}

const READ = fs.constants.O_RDONLY | fs.constants.O_NONBLOCK | fs.constants.O_NOCTTY;
const CHUNK_BYTES = 64 * 1024;

/**
 * Reads a regular file of at most `maxBytes`. `check` sees the open file before it is read. Throws the code, and what
 * the file system and `check` throw; the caller adds the path by `inFile`. Blocks.
 */
export function readWholeFile(
  path: string,
  { maxBytes, code }: Reading,
  check?: (found: fs.Stats) => void,
): Buffer {
  // Checked before, because opening some devices has an effect, and after, because the name may lead elsewhere by then.
  ensureRegular(fs.statSync(path), code);
  const fd = fs.openSync(path, READ);
  try {
    const found = fs.fstatSync(fd);
    ensureRegular(found, code);
    check?.(found);
    ensure(found.size <= maxBytes, code, `${found.size} bytes, at most ${maxBytes}`);
    return readOpenFile(fd, { maxBytes, code });
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Reads to the end of the file, whatever size it states: files of the kernel state 0. Throws the code above `maxBytes`.
 * Blocks.
 */
export function readOpenFile(fd: number, { maxBytes, code }: Reading): Buffer {
  const chunks: Buffer[] = [];
  let total = 0;
  for (;;) {
    const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, maxBytes + 1 - total));
    const read = fs.readSync(fd, chunk);
    if (read === 0) return Buffer.concat(chunks);
    chunks.push(chunk.subarray(0, read));
    total += read;
    ensure(total <= maxBytes, code, `more than ${maxBytes} bytes`);
  }
}

/**
 * Adds the file's name, and the code, to a refusal or an error of the file system that `read` throws. Other errors are
 * bugs and pass unchanged.
 */
export function inFile<T>(name: string, code: Refusal, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const says = isRefusal(error) ? error.message : systemSentence(error);
    if (says === undefined) throw error;
    throw new IdentityError(code, `${name}: ${says}`, { cause: error });
  }
}

/** Throws the code unless it is a regular file. */
export function ensureRegular(found: fs.Stats, code: Refusal): void {
  ensure(!found.isDirectory(), code, 'a file is expected, found a folder; name the file in it');
  ensure(found.isFile(), code, `a regular file is expected, found a ${kindOf(found)}`);
}

function kindOf(found: fs.Stats): string {
  if (found.isFIFO()) return 'pipe';
  return found.isSocket() ? 'socket' : 'device';
}
