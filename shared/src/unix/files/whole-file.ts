/**
 * Files that are read whole under a name from outside: regular ones, and bounded. Opening a named pipe can wait for
 * ever, a device has no end, and a file can grow while it is read.
 */
import fs from 'node:fs';
import { ensure, IdentityError, isRefusal, type Refusal } from '../../ground/errors.ts';
import { systemSentence } from '../../text/system-sentence.ts';

export interface Reading {
  readonly maxBytes: number;
  /** Of the refusal. */
  readonly code: Refusal;
}

const READ = fs.constants.O_RDONLY | fs.constants.O_NONBLOCK | fs.constants.O_NOCTTY;
const CHUNK_BYTES = 64 * 1024;

/**
 * `check` sees the open file before it is read. Throws the code without the path, which the caller names by `inFile`;
 * and what the file system and `check` throw. Blocks.
 */
export function readWholeFile(
  path: string,
  { maxBytes, code }: Reading,
  check?: (found: fs.Stats) => void,
): Buffer {
  // Some devices act when they are opened. The open file is looked at again, since the name may lead elsewhere by then.
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

/** To its end, whatever size it claims: files of the kernel claim none. Blocks. */
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

/** Names the file in whatever `read` throws for it, and gives that the code. A bug is thrown on. */
export function inFile<T>(name: string, code: Refusal, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const says = isRefusal(error) ? error.message : systemSentence(error);
    if (says === undefined) throw error;
    throw new IdentityError(code, `${name}: ${says}`, { cause: error });
  }
}

/** Throws the code. */
export function ensureRegular(found: fs.Stats, code: Refusal): void {
  ensure(!found.isDirectory(), code, 'a file is expected, found a folder; name the file in it');
  ensure(found.isFile(), code, `a regular file is expected, found a ${kindOf(found)}`);
}

function kindOf(found: fs.Stats): string {
  if (found.isFIFO()) return 'pipe';
  return found.isSocket() ? 'socket' : 'device';
}
