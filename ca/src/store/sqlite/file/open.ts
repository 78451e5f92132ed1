/** One SQLite file, opened for this process alone, in WAL mode with synchronous FULL, with the schema of today. */
import { closeSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { openPrivateFile } from '@chancery/shared/unix/files/append-file.ts';
import { inFile } from '@chancery/shared/unix/files/whole-file.ts';
import type { OnMigrating } from './migrating.ts';
import { MIGRATIONS } from './schema.ts';

/** Opens or makes the file, 0600, and brings its schema up to date. Throws store. */
export function openDatabase(path: string, onMigrating: OnMigrating = () => {}): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    // SQLite gives its WAL the mode of the database file, so the file is made private before SQLite sees it.
    if (path !== ':memory:') closeSync(inFile(path, 'store', () => openPrivateFile(path, 'store')));
    db = new DatabaseSync(path);
    // EXCLUSIVE: two CAs on one file would each think that they had the last word.
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    migrate(db, onMigrating);
    return db;
  } catch (error) {
    // Its lock goes with it.
    db?.close();
    throw storeRefusal(error, path);
  }
}

/** The schema's version. Throws store if a newer program made it. */
export function ensureKnownSchema(db: DatabaseSync): number {
  const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
  ensure(
    version <= MIGRATIONS.length,
    'store',
    `the database has schema ${version}, this program knows ${MIGRATIONS.length}: run the newer chancery-ca`,
  );
  return version;
}

function migrate(db: DatabaseSync, onMigrating: OnMigrating): void {
  db.exec('BEGIN EXCLUSIVE');
  const version = ensureKnownSchema(db);
  for (const [n, step] of MIGRATIONS.slice(version).entries()) {
    // A file without a schema is a new one.
    if (version > 0) onMigrating({ from: version, step: version + n + 1, to: MIGRATIONS.length });
    db.exec(step);
  }
  db.exec(`PRAGMA user_version = ${MIGRATIONS.length}; COMMIT`);
}

/** SQLITE_BUSY and SQLITE_FULL, said so that an operator knows what to do. */
export function storeRefusal(error: unknown, path: string): IdentityError {
  if (isRefusal(error)) return error;
  const errcode = error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : 0;
  const says = error instanceof Error ? error.message : String(error);
  const hint =
    errcode === 5 || errcode === 6
      ? 'another process holds it: is a chancery-ca already running on this file?'
      : errcode === 13
        ? 'no space left on its disk. Free some; a CA that runs then continues by itself'
        : says;
  return new IdentityError('store', `${path}: ${hint}`, { cause: error });
}
