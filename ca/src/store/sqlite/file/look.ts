/** A look at the database of a CA that is not running, without changing anything. */
import { existsSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import type { LogCheckpoint } from '../../log-store.ts';
import type { AuthorityRecord, RegistryRecord, StoredAuthority } from '../../store.ts';
import { LogTable } from '../tables/log-table.ts';
import { authorityOf, crossOf, serialOf } from '../tables/rows.ts';
import { ensureNotOlder } from './generation.ts';
import { ensureKnownSchema, storeRefusal } from './open.ts';
import { MIGRATIONS } from './schema.ts';

export interface Snapshot {
  /** The version of its schema, and the one that `serve` brings it to. */
  readonly schema: number;
  readonly schemaOfToday: number;
  /** How many rows its two large tables have, audit events and certificates, or a little more. */
  readonly rows: number;
  /** The number of its newest audit event; 0 where there is none. */
  readonly newestEvent: number;
  /** The newest checkpoint of the audit log. */
  readonly checkpoint: Pick<LogCheckpoint, 'size' | 'root'> | undefined;
  readonly newestRecordAt: Date | undefined;
  readonly authorities: readonly (AuthorityRecord & Pick<StoredAuthority, 'cross'>)[];
  readonly registry: RegistryRecord | undefined;
}

const BUSY = 5;
const UNKNOWN_BEFORE_MIGRATION = 0;
/** What an older schema does not say of an authority: all that it has may sign, as their times and keys allow. */
const BEFORE_STATES = { state: 'active', algorithm: 'ecdsa-p256', sequence: 0, key_home: 'file' };

/** The first schema that has checkpoints. */
const WITH_CHECKPOINTS = 9;

/**
 * Without a `generation`, a database of any age is looked at. Undefined if a running CA holds the database: it has
 * found it good. Throws store for what `openSqlite` refuses.
 */
export function lookAt(path: string, generation: string | undefined): Snapshot | undefined {
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

/** By their numbers, without a look at each row. */
const ROWS = `SELECT
  coalesce((SELECT max(sequence) FROM audit) - (SELECT min(sequence) FROM audit) + 1, 0) +
  coalesce((SELECT max(n) FROM certificates) - (SELECT min(n) FROM certificates) + 1, 0) AS rows`;

const NOTHING = { newestRecordAt: undefined, authorities: [], registry: undefined };

function snapshotOf(db: DatabaseSync, generation: string | undefined): Snapshot {
  const [schema, schemaOfToday] = [ensureKnownSchema(db), MIGRATIONS.length];
  if (schema === UNKNOWN_BEFORE_MIGRATION)
    return { schema, schemaOfToday, rows: 0, newestEvent: 0, checkpoint: undefined, ...NOTHING };
  const newest = db.prepare('SELECT sequence, at FROM audit ORDER BY sequence DESC LIMIT 1').get();
  const newestEvent = Number(newest?.['sequence'] ?? 0);
  if (generation !== undefined) ensureNotOlder(generation, newestEvent);
  const registry = db.prepare('SELECT version, resources FROM registry ORDER BY version DESC LIMIT 1').get();
  return {
    schema,
    schemaOfToday,
    rows: Number(db.prepare(ROWS).get()?.['rows']),
    newestEvent,
    checkpoint: schema < WITH_CHECKPOINTS ? undefined : new LogTable(db).newest(),
    newestRecordAt: newest && new Date(Number(newest['at'])),
    authorities: db
      .prepare('SELECT * FROM authorities ORDER BY not_after, serial')
      .all()
      .map((row) => ({
        ...authorityOf({ ...BEFORE_STATES, key_reference: serialOf(row), ...row }),
        ...crossOf(row),
      })),
    registry: registry && { version: Number(registry['version']), resources: String(registry['resources']) },
  };
}
