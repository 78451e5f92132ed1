/** The table of authorities: part of the SQLite store. */
import type { DatabaseSync } from 'node:sqlite';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { afterMoves, ensureNew, isInBundle, type Standing } from '../../authority-states.ts';
import type { CrossDraft } from '../../request-store.ts';
import type { AuthorityMove, Numbered, StoredAuthority } from '../../store.ts';
import type { Taint } from '../../taint-store.ts';
import { type AuthorityRow, authorityOf, crossOf, fromHex, sequenceOf, standingOf } from './rows.ts';

/** The number of the state as it is, and a new one. */
export interface Numbers {
  /** The number of the state as it is. */
  current(): bigint;
  /** A new number, greater than all before. */
  next(): bigint;
}

/** As it may cross to another thread. */
export interface CrossRow extends Omit<CrossDraft, 'chain'> {
  /** By `crossText`. */
  readonly chain: string;
}

/**
 * Prepares its statements once, on a connection that the caller owns. Every method blocks; the caller holds the
 * transaction.
 */
export class AuthorityTable {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
  }

  /** In an order that no move changes. Throws store for a damaged row. */
  all(): readonly StoredAuthority[] {
    return this.#sql.all.all().map((row) => ({
      ...authorityOf(row),
      ...sequenceOf(row),
      movedAt: new Date(Number(row['moved_at'])),
      ordinal: Number(row['ordinal']),
      publication: row['publication'] === null ? undefined : Number(row['publication']),
      ...crossOf(row),
    }));
  }

  /** Returns the number of the record. Throws store for one that must not be written. */
  save(record: AuthorityRow, at: number, { next }: Numbers): Numbered {
    ensureNew(this.#standings(), record);
    const sequence = isInBundle(record) ? next() : 0n;
    const { serial, kind, certificate, notAfter, state, algorithm, key } = record;
    const about = [kind, fromHex(certificate), notAfter.getTime()] as const;
    const place = [key.home, key.reference, record.standby === true ? 1 : 0] as const;
    this.#sql.insert.run(fromHex(serial), ...about, sequence, state, algorithm, at, ...place);
    return { sequence };
  }

  /** Throws authority_unfit if it was removed: nothing may be recorded under it any more. */
  ensureKept(serial: string): void {
    const state = this.#sql.state.get(fromHex(serial))?.['state'];
    const says = `authority ${serial} was removed; the CA takes its successor within a minute`;
    ensure(state !== 'removed', 'authority_unfit', says);
  }

  /** Returns the number of the state after the moves; undefined if another process was faster. Throws store. */
  move(moves: readonly AuthorityMove[], at: number, { current, next }: Numbers): Numbered | undefined {
    const [before, last] = [this.#standings(), current()];
    const after = afterMoves(before, moves, { sequence: last + 1n });
    if (after === undefined) return undefined;
    const changed = this.#write(before, after, at);
    return { sequence: changed.some(({ sequence }) => sequence > last) ? next() : last };
  }

  /** Returns false, and writes nothing, if another process was faster or it is tainted already. Throws store. */
  taint({ authority, moves }: Omit<Taint, 'draft'>, at: number, { current, next }: Numbers): boolean {
    const before = this.#standings();
    const after = afterMoves(before, moves, { sequence: current() + 1n, isTaint: true });
    const row = this.#sql.state.get(fromHex(authority));
    if (after === undefined || row?.['tainted_at'] !== null) return false;
    this.#write(before, after, at);
    // Also where no root moves: agents are told to leave it, with the bundle.
    this.#sql.taint.run(at, next(), fromHex(authority));
    return true;
  }

  #write(before: readonly Standing[], after: readonly Standing[], at: number): readonly Standing[] {
    const changed = after.filter((each, n) => each !== before[n]);
    for (const { serial, state, sequence } of changed)
      this.#sql.move.run(state, sequence, at, fromHex(serial));
    return changed;
  }

  /** Undefined, and nothing is written, unless the root may sign and has the one that this replaces. */
  saveCross({ root, chain, after }: CrossRow, { current, next }: Numbers): Numbered | undefined {
    const sequence = current() + 1n;
    if (this.#sql.cross.run(chain, sequence, fromHex(root), after).changes !== 1) return undefined;
    return { sequence: next() };
  }

  /** Remembers the audit event of the moves for the root that it vouches for. */
  vouched(moves: readonly AuthorityMove[], event: number): void {
    for (const { serial, to } of moves)
      if (to === 'published' || to === 'active') this.#sql.vouched.run(event, fromHex(serial));
  }

  #standings(): readonly Standing[] {
    return this.#sql.standings.all().map(standingOf);
  }
}

/** Also for what the audit log says was done. A CA above's chain stays: its peers do not hear what is removed here. */
export const MOVE_AUTHORITY = 'UPDATE authorities SET state = ?, sequence = ?, moved_at = ? WHERE serial = ?';
/** As MOVE_AUTHORITY. */
export const TAINT_AUTHORITY = 'UPDATE authorities SET tainted_at = ?, sequence = ? WHERE serial = ?';

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    all: sql('SELECT * FROM authorities ORDER BY not_after, serial'),
    state: sql('SELECT state, tainted_at FROM authorities WHERE serial = ?'),
    standings: sql('SELECT serial, kind, state, sequence, standby FROM authorities'),
    insert: sql(`
      INSERT INTO authorities (serial, kind, certificate, not_after, sequence, state, algorithm, moved_at,
        key_home, key_reference, standby, ordinal)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT coalesce(max(ordinal), 0) + 1 FROM authorities))`),
    vouched: sql(`UPDATE authorities SET publication = ? WHERE serial = ? AND kind = 'root'`),
    move: sql(MOVE_AUTHORITY),
    cross: sql(`UPDATE authorities SET cross_chain = ?, cross_sequence = ? WHERE serial = ? AND kind = 'root'
      AND state IN ('prepared', 'published', 'active') AND cross_sequence = ?`),
    taint: sql(TAINT_AUTHORITY),
  };
}
