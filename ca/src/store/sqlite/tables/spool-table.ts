/** How far each gateway's spool of records has come: part of the SQLite store. */
import type { DatabaseSync } from 'node:sqlite';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Reported, ReportedCall, Spool } from '../../log-store.ts';
import { fromHex } from './rows.ts';

/**
 * Of one reporter on one node: many gateways may have one SPIFFE ID, and each of their starts begins another spool.
 * Beyond it, the longest silent is forgotten.
 */
const MAX_SPOOLS = 1_000;
/** A spool that is silent for longer is forgotten, so that nodes that come and go leave no rows for ever. */
const MAX_SILENCE_MS = 180 * 24 * 60 * 60 * 1000;

/** Times are milliseconds. Every method blocks. */
export class SpoolTable {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
  }

  /** Nothing for a spool that is not known. */
  through({ reporter, spool }: Spool): Reported {
    const row = this.#sql.through.get(reporter, fromHex(spool));
    const last = row?.['last'];
    return { through: Number(row?.['through'] ?? 0), last: last instanceof Uint8Array ? hex(last) : '' };
  }

  /**
   * Notes that all of these are written. Returns those that were not yet; none if the newest record that is here has
   * another digest. Throws out_of_order.
   */
  take(at: number, spool: Spool, oldest: number, given: Given): readonly ReportedCall[] {
    const { events, digests } = given;
    const { through, last } = this.through(spool);
    const first = events[0]?.number ?? 0;
    const says = `record ${first} of the spool comes after ${through}`;
    ensure(first <= through + 1 || first === oldest, 'out_of_order', says);
    const known = digests[through - first];
    if (last !== '' && known !== undefined && known !== last) return [];
    const fresh = events.filter(({ number }) => number > through);
    const newest = fresh.at(-1);
    if (newest !== undefined) this.heard(at, spool, { through: newest.number, last: digests.at(-1) ?? '' });
    return fresh;
  }

  /** Notes that the spool has come at least so far. */
  heard(at: number, { reporter, spool, node = '' }: Spool, { through, last }: Reported): void {
    const isNew = this.#sql.through.get(reporter, fromHex(spool)) === undefined;
    this.#sql.save.run(reporter, fromHex(spool), through, at, node, last === '' ? null : fromHex(last));
    if (!isNew) return;
    this.#sql.forget.run(reporter, node, MAX_SPOOLS);
  }

  /** Those that nobody has reported from for 180 days before `now`. */
  forgetSilent(now: number): void {
    this.#sql.forgetSilent.run(now - MAX_SILENCE_MS);
  }
}

/** Events whose numbers follow each other, and the SHA-256 of each as it was sent; none if they are not known. */
export interface Given {
  readonly events: readonly ReportedCall[];
  readonly digests: readonly string[];
}

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    forgetSilent: sql('DELETE FROM spools WHERE heard_at < ?'),
    through: sql('SELECT through, last FROM spools WHERE reporter = ? AND spool = ?'),
    save: sql(`INSERT INTO spools (reporter, spool, through, heard_at, node, last) VALUES (?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET last = iif(excluded.through > through, excluded.last, last),
      through = max(through, excluded.through), heard_at = excluded.heard_at, node = excluded.node`),
    forget: sql(`DELETE FROM spools WHERE reporter = ?1 AND node = ?2 AND spool IN (SELECT spool FROM spools
      WHERE reporter = ?1 AND node = ?2 ORDER BY heard_at DESC, spool LIMIT -1 OFFSET ?3)`),
  };
}
