/** A log in a folder: read for verification and proofs. */
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { ensure } from '../ground/errors.ts';
import type { ReadFile } from '../tlog/read-log.ts';

/** A bundle of entries of the greatest length has less. */
const MAX_BYTES = 32 * 1024 * 1024;

/** Paths are relative to the folder. Throws tlog for a file that is too long, and what the file system refuses. */
export const readIn =
  (folder: string): ReadFile =>
  async (path) => {
    const file = await openOrMissing(join(folder, path));
    if (file === undefined) return undefined;
    try {
      const found = await file.stat();
      ensure(found.isFile(), 'tlog', `${path} is no regular file`);
      const { size } = found;
      ensure(size <= MAX_BYTES, 'tlog', `${path} has ${size} bytes, at most ${MAX_BYTES}`);
      return await file.readFile();
    } finally {
      await file.close();
    }
  };

async function openOrMissing(path: string): Promise<fs.FileHandle | undefined> {
  try {
    // Not blocked by a pipe that somebody has put in the place of a file.
    return await fs.open(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
