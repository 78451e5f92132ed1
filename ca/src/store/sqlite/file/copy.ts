/** A copy of a database: of one that is open and written to, or of one that no process has open. */
import { closeSync, rmSync } from 'node:fs';
import { backup, DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { openPrivateFile } from '@chancery/shared/unix/files/append-file.ts';
import { inFile } from '@chancery/shared/unix/files/whole-file.ts';
import { storeRefusal } from './open.ts';

/** Pages in one step: a write of the CA waits for a step at most. */
const PAGES = 64;

/**
 * Writes a copy to `path`, 0600, over what is there. It has everything that was committed before the call, and
 * what was until one moment before this resolves. Writes by this connection continue meanwhile. Throws store.
 */
export async function copyDatabase(db: DatabaseSync, path: string): Promise<void> {
  try {
    rmSync(path, { force: true });
    closeSync(inFile(path, 'store', () => openPrivateFile(path, 'store')));
    await backup(db, path, { rate: PAGES });
  } catch (error) {
    rmSync(path, { force: true });
    throw storeRefusal(error, path);
  }
}

/** As `copyDatabase`, of a database that no process has open; its schema stays as it is. Throws store. */
export async function copyClosedDatabase(from: string, path: string): Promise<void> {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(from);
    db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT');
    await copyDatabase(db, path);
  } catch (error) {
    throw storeRefusal(error, from);
  } finally {
    db?.close();
  }
}

/** Reads the whole file, without a change. Throws store if it is damaged. Blocks. */
export function ensureSound(path: string): void {
  const url = pathToFileURL(path);
  url.search = 'immutable=1';
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(url, { readOnly: true });
    const found = db.prepare('PRAGMA quick_check(1)').get()?.['quick_check'];
    ensure(found === 'ok', 'store', `${path} is damaged: ${String(found)}`);
  } catch (error) {
    throw storeRefusal(error, path);
  } finally {
    db?.close();
  }
}
