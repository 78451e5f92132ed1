/** How far each gateway's spool of records has come: part of the SQLite store. */
import type { DatabaseSync } from 'node:sqlite';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { ReportedCall, Spool } from '../../log-store.ts';
import { fromHex } from './rows.ts';

/** Of one reporter: many gateways may have one SPIFFE ID. Beyond it, the longest silent is forgotten. */
const MAX_SPOOLS = 1_000;

/** Times are milliseconds. Every method blocks. */
export class SpoolTable {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
  }

  /** 0 for a spool that is not known. */
  through({ reporter, spool }: Spool): number {
    return Number(this.#sql.through.get(reporter, fromHex(spool))?.['through'] ?? 0);
  }

  /** Notes that all of these are written. Returns those that were not yet. Throws out_of_order. */
  take(at: number, spool: Spool, oldest: number, events: readonly ReportedCall[]): readonly ReportedCall[] {
    const through = this.through(spool);
    const first = events[0]?.number ?? 0;
    const says = `record ${first} of the spool comes after ${through}`;
    ensure(first <= through + 1 || first === oldest, 'out_of_order', says);
    const fresh = events.filter(({ number }) => number > through);
    const last = fresh.at(-1);
    if (last !== undefined) this.heard(at, spool, last.number);
    return fresh;
  }

  /** Notes that the spool has come at least so far. */
  heard(at: number, { reporter, spool }: Spool, through: number): void {
    const isNew = this.#sql.through.get(reporter, fromHex(spool)) === undefined;
    this.#sql.save.run(reporter, fromHex(spool), through, at);
    if (isNew) this.#sql.forget.run(reporter, MAX_SPOOLS);
  }
}

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    through: sql('SELECT through FROM spools WHERE reporter = ? AND spool = ?'),
    save: sql(`INSERT INTO spools VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
      SET through = max(through, excluded.through), heard_at = excluded.heard_at`),
    forget: sql(`DELETE FROM spools WHERE reporter = ?1 AND spool IN
      (SELECT spool FROM spools WHERE reporter = ?1 ORDER BY heard_at DESC, spool LIMIT -1 OFFSET ?2)`),
  };
}
