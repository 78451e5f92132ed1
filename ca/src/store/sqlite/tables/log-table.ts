/** The tables of the Merkle log: part of the SQLite store. The order of entries is that of the audit table. */
import type { DatabaseSync } from 'node:sqlite';
import { entryText } from '@chancery/shared/audit/leaves.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Leaves, LogCheckpoint, Waiting } from '../../log-store.ts';

/** Times are milliseconds. Every method blocks. */
export class LogTable {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
  }

  /** One writer gives the numbers, ascending, so nothing appears before a number that was read. */
  leaves(after: number, limit: number): Leaves {
    const rows = this.#sql.rows.all(after, limit);
    const entries = rows
      .filter((row) => row['leaf'] === 1)
      .map(({ at, event }) => entryText(new Date(Number(at)), String(event)));
    const through = Number(rows.at(-1)?.['sequence'] ?? after);
    return { entries, through, more: rows.length === limit };
  }

  /** Counts at most 100,000. */
  waiting(): Waiting {
    const row = this.#sql.waiting.get(this.newest()?.through ?? 0);
    const since = row?.['since'];
    return {
      events: Number(row?.['events']),
      since: typeof since === 'number' ? new Date(since) : undefined,
    };
  }

  /** The newest of at most `size` entries; undefined if there is none. */
  newest(size = Number.MAX_SAFE_INTEGER): LogCheckpoint | undefined {
    const row = this.#sql.newest.get(size);
    return (
      row && {
        size: Number(row['size']),
        root: String(row['root']),
        through: Number(row['through']),
        note: String(row['note']),
      }
    );
  }

  /** False if the newest has another size than `from`. Throws store for one that does not grow. */
  save(at: number, from: number, { size, root, through, note }: LogCheckpoint): boolean {
    const newest = this.newest();
    if ((newest?.size ?? 0) !== from) return false;
    ensure(size > from, 'store', `a checkpoint of ${size} entries cannot follow one of ${from}`);
    this.#sql.insert.run(size, root, through, note, at);
    return true;
  }
}

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    rows: sql('SELECT * FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?'),
    waiting: sql(
      'SELECT count(*) AS events, min(at) AS since FROM ' +
        '(SELECT at FROM audit WHERE sequence > ? AND leaf = 1 ORDER BY sequence LIMIT 100000)',
    ),
    newest: sql('SELECT * FROM checkpoints WHERE size <= ? ORDER BY size DESC LIMIT 1'),
    insert: sql('INSERT INTO checkpoints (size, root, through, note, made_at) VALUES (?, ?, ?, ?, ?)'),
  };
}
