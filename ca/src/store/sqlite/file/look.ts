/** A look at the database of a CA that is not running, without changing anything. */
import { existsSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import type { AuthorityRecord, RegistryRecord } from '../../store.ts';
import { authorityOf, serialOf } from '../tables/rows.ts';
import { ensureNotOlder } from './generation.ts';
import { ensureKnownSchema, storeRefusal } from './open.ts';

export interface Snapshot {
  readonly newestRecordAt: Date | undefined;
  readonly authorities: readonly AuthorityRecord[];
  readonly registry: RegistryRecord | undefined;
}

const BUSY = 5;
const UNKNOWN_BEFORE_MIGRATION = 0;
/** What an older schema does not say of an authority: all that it has may sign, as their times and keys allow. */
const BEFORE_STATES = { state: 'active', algorithm: 'ecdsa-p256', sequence: 0, key_home: 'file' };

/**
 * Undefined if a running CA holds the database: it has found it good. Throws store for what `openSqlite` refuses.
 */
export function lookAt(path: string, generation: string): Snapshot | undefined {
  // Without a WAL a read-only connection would make one; immutable reads the file alone.
  const url = pathToFileURL(path);
  const hasWal = existsSync(`${path}-wal`);
  if (!hasWal) url.search = 'immutable=1';
  const hadIndex = existsSync(`${path}-shm`);
  try {
    const db = new DatabaseSync(url, { readOnly: true });
    try {
      return snapshotOf(db, generation);
    } finally {
      db.close();
      if (hasWal && !hadIndex) rmSync(`${path}-shm`, { force: true });
    }
  } catch (error) {
    if (error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === BUSY)
      return undefined;
    throw storeRefusal(error, path);
  }
}

function snapshotOf(db: DatabaseSync, generation: string): Snapshot {
  const schema = ensureKnownSchema(db);
  if (schema === UNKNOWN_BEFORE_MIGRATION)
    return { newestRecordAt: undefined, authorities: [], registry: undefined };
  const newest = db.prepare('SELECT sequence, at FROM audit ORDER BY sequence DESC LIMIT 1').get();
  ensureNotOlder(generation, Number(newest?.['sequence'] ?? 0));
  const registry = db.prepare('SELECT version, resources FROM registry ORDER BY version DESC LIMIT 1').get();
  return {
    newestRecordAt: newest && new Date(Number(newest['at'])),
    authorities: db
      .prepare('SELECT * FROM authorities ORDER BY not_after, serial')
      .all()
      .map((row) => authorityOf({ ...BEFORE_STATES, key_reference: serialOf(row), ...row })),
    registry: registry && { version: Number(registry['version']), resources: String(registry['resources']) },
  };
}
