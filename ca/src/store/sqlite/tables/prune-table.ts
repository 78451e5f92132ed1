/** How far the audit log is pruned: part of the SQLite store. Events go by whole blocks of the index. */
import type { DatabaseSync } from 'node:sqlite';
import type { NextPruning, Prunable, Pruned, Pruning } from '../../log-store.ts';
import { BLOCK, SEGMENT } from './entry-index.ts';

/** Times are milliseconds. Every method blocks. */
export class PruneTable {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
  }

  /** As it is stored. */
  state(): Pruning {
    const row = this.#sql.state.get();
    const of = (column: string): number => Number(row?.[column] ?? 0);
    const numbers = {
      entries: of('entries'),
      first: of('first'),
      announced: of('announced'),
      done: of('done'),
    };
    const tail = row?.['tail'];
    return { ...numbers, tail: typeof tail === 'string' ? tail : undefined };
  }

  /** The most entries that may go: a multiple of `unit`, and as many are kept under the newest checkpoint. */
  due(before: number, unit: number): Prunable | undefined {
    const young = this.#sql.young.get(before)?.['entries'] ?? this.#sql.indexed.get()?.['entries'];
    const signed = Number(this.#sql.signed.get()?.['size'] ?? 0) - unit;
    const entries = Math.floor(Math.min(Number(young), signed) / unit) * unit;
    if (entries <= this.state().entries) return undefined;
    return { entries, first: Number(this.#sql.blockOf.get(entries)?.['block'] ?? 0) * BLOCK };
  }

  /** Of the next `unit` entries that may go. */
  next(unit: number): NextPruning {
    const entries = this.state().entries + unit;
    const signed = Number(this.#sql.signed.get()?.['size'] ?? 0);
    const indexed = Number(this.#sql.indexed.get()?.['entries'] ?? 0);
    const at = indexed < entries ? null : this.#sql.youngest.get(entries)?.['at'];
    return {
      lacking: Math.max(entries + unit - signed, 0),
      youngest: typeof at === 'number' ? at : undefined,
    };
  }

  /** Notes what is going to be pruned, after its event was written. */
  announce({ entries, first, tail }: Pruned): void {
    this.#sql.announce.run(entries, first, tail);
  }

  /** Forgets some rows that the log is pruned of; false once none is left, which is noted. */
  prune(limit: number): boolean {
    const { first, entries } = this.state();
    const { events, words, blocks, checkpoints } = this.#sql;
    const changed = [
      events.run(first, limit),
      words.run(Math.floor(first / SEGMENT), limit),
      blocks.run(Math.floor(first / BLOCK), limit),
      checkpoints.run(entries, limit),
    ];
    const more = changed.some(({ changes }) => Number(changes) > 0);
    if (!more) this.#sql.done.run();
    return more;
  }
}

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    state: sql('SELECT * FROM audit_pruned'),
    // Blocks with an event at or after that time, and with none before it that is younger.
    young: sql('SELECT entries FROM audit_blocks WHERE to_at >= ? ORDER BY block LIMIT 1'),
    youngest: sql('SELECT max(to_at) AS at FROM audit_blocks WHERE entries < ?'),
    indexed: sql('SELECT entries FROM audit_mark'),
    signed: sql('SELECT max(size) AS size FROM checkpoints'),
    blockOf: sql('SELECT block FROM audit_blocks WHERE entries <= ? ORDER BY block DESC LIMIT 1'),
    announce: sql(`UPDATE audit_pruned SET entries = ?, first = ?, tail = ?,
      announced = (SELECT max(sequence) FROM audit)`),
    done: sql('UPDATE audit_pruned SET done = entries'),
    events: sql(`DELETE FROM audit WHERE sequence IN
      (SELECT sequence FROM audit WHERE sequence < ? ORDER BY sequence LIMIT ?)`),
    words: sql(`DELETE FROM audit_words WHERE (segment, word, sequence) IN
      (SELECT segment, word, sequence FROM audit_words WHERE segment < ? LIMIT ?)`),
    blocks: sql(`DELETE FROM audit_blocks WHERE block IN
      (SELECT block FROM audit_blocks WHERE block < ? ORDER BY block LIMIT ?)`),
    // The last one before the kept part stays: entries are counted from it.
    checkpoints: sql(`DELETE FROM checkpoints WHERE size IN (SELECT size FROM checkpoints
      WHERE size < (SELECT max(size) FROM checkpoints WHERE size <= ?1) ORDER BY size LIMIT ?2)`),
  };
}
