/**
 * The folder of the log, in the layout of C2SP tlog-tiles. A file is written under another name and renamed, so that a
 * reader and a killed process find the old one or the new one. Full tiles and bundles are synced, too: nobody looks at
 * them again. Partial ones and the checkpoint are not: a loss of power may spoil them, which the next start notices and
 * mends from the database, and a sync of each would make issuing wait for its own.
 */
import fs from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface LogFiles {
  /** Undefined if there is no such file. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** Replaces the file in one step. */
  write(path: string, bytes: Uint8Array): Promise<void>;
  /** Also durable when it resolves. */
  writeSynced(path: string, bytes: Uint8Array): Promise<void>;
  /** Removes a file, or a folder with its files; does nothing if there is none. */
  remove(path: string): Promise<void>;
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
    write: (path, bytes) =>
      inFolder(at(path), async () => {
        const temporary = `${at(path)}.tmp`;
        await fs.writeFile(temporary, bytes, { mode: 0o600 });
        await fs.rename(temporary, at(path));
      }),
    async writeSynced(path, bytes) {
      await inFolder(at(path), async () => {
        const temporary = `${at(path)}.tmp`;
        await writeSynced(temporary, bytes);
        await fs.rename(temporary, at(path));
      });
      for (let each = dirname(at(path)); each.length >= folder.length; each = dirname(each))
        await syncFolder(each);
    },
    remove: (path) => fs.rm(at(path), { recursive: true, force: true }),
  };
}

/** Makes the folder of the file if it is missing. */
async function inFolder(path: string, write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    await fs.mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await write();
  }
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
