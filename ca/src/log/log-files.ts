/**
 * The folder of the log, in the layout of C2SP tlog-tiles. A file is written under another name, synced and renamed, so
 * that a reader and a crash find the old one or the new one.
 */
import fs from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface LogFiles {
  /** Undefined if there is no such file. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** Durable when it resolves. */
  write(path: string, bytes: Uint8Array): Promise<void>;
  /** Removes a folder with its files; does nothing if there is none. */
  removeFolder(path: string): Promise<void>;
}

/** Paths are relative to the folder, which is made with the first file; 0700 and 0600. */
export function logFiles(folder: string): LogFiles {
  const at = (path: string): string => join(folder, path);
  return {
    async read(path) {
      try {
        return await fs.readFile(at(path));
      } catch (error) {
        if (
          error instanceof Error &&
          'code' in error &&
          (error.code === 'ENOENT' || error.code === 'ENOTDIR')
        )
          return undefined;
        throw error;
      }
    },
    async write(path, bytes) {
      const parent = dirname(at(path));
      const made = await fs.mkdir(parent, { recursive: true, mode: 0o700 });
      const temporary = `${at(path)}.tmp`;
      await writeSynced(temporary, bytes);
      await fs.rename(temporary, at(path));
      const above = made === undefined ? parent : dirname(made);
      for (let each = parent; each.length >= above.length; each = dirname(each)) await syncFolder(each);
    },
    removeFolder: (path) => fs.rm(at(path), { recursive: true, force: true }),
  };
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const file = await fs.open(path, 'w', 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await fs.open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
