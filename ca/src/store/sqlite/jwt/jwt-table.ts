/** The table of JWT signing keys: part of the SQLite store. */
import type { DatabaseSync } from 'node:sqlite';
import { asBuffer, hex } from '@chancery/shared/ground/bytes.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { isKeyAlgorithm } from '@chancery/shared/keys/key.ts';
import {
  afterMoves,
  ensureNew,
  isAuthorityState,
  isInBundle,
  type Standing,
} from '../../authority-states.ts';
import type { JwtKeyRecord, StoredJwtKey } from '../../jwt-store.ts';
import type { AuthorityMove, Numbered } from '../../store.ts';
import type { Taint } from '../../taint-store.ts';
import type { Numbers } from '../tables/authority-table.ts';
import { fromHex, sequenceOf, serialOf } from '../tables/rows.ts';

/** As it may cross to another thread. */
export type JwtKeyRow = Omit<JwtKeyRecord, 'spki'> & { readonly spki: string };

/** As it may cross to another thread. */
export const jwtRowOf = ({ spki, ...record }: JwtKeyRecord): JwtKeyRow => ({ ...record, spki: hex(spki) });

/** A Buffer that crosses a thread arrives without its methods. */
export const arrivedJwtKey = (each: StoredJwtKey): StoredJwtKey => ({ ...each, spki: asBuffer(each.spki) });

/** As `AuthorityTable`. */
export class JwtTable {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
  }

  /** The first that was made first. Throws store for a damaged row. */
  all(): readonly StoredJwtKey[] {
    return this.#sql.all.all().map(jwtKeyOf);
  }

  /** Returns the number of the record. Throws store for one that must not be written. */
  save(record: JwtKeyRow, at: number, { next }: Numbers): Numbered {
    ensureNew(this.all(), record);
    const sequence = isInBundle(record) ? next() : 0n;
    const { serial, state, algorithm, spki, key } = record;
    const place = [key.home, key.reference] as const;
    this.#sql.insert.run(fromHex(serial), state, algorithm, fromHex(spki), ...place, sequence, at);
    return { sequence };
  }

  /** Returns the number of the state after the moves; undefined if another process was faster. Throws store. */
  move(moves: readonly AuthorityMove[], at: number, { current, next }: Numbers): Numbered | undefined {
    const [before, last] = [this.all(), current()];
    const after = afterMoves(before, moves, { sequence: last + 1n });
    if (after === undefined) return undefined;
    const changed = this.#write(before, after, at);
    return { sequence: changed.some(({ sequence }) => sequence > last) ? next() : last };
  }

  /** Returns false, and writes nothing, if another process was faster or it is tainted already. Throws store. */
  taint({ authority, moves }: Omit<Taint, 'draft'>, at: number, { current, next }: Numbers): boolean {
    const before = this.all();
    const after = afterMoves(before, moves, { sequence: current() + 1n });
    const key = before.find(({ serial }) => serial === authority);
    if (after === undefined || key === undefined || key.taintedAt !== undefined) return false;
    this.#write(before, after, at);
    this.#sql.taint.run(at, next(), fromHex(authority));
    return true;
  }

  /** Whether or not another one signs then. */
  takeAway(serial: string, at: number, { next }: Numbers): void {
    const [sequence, bytes] = [next(), fromHex(serial)];
    this.#sql.move.run('removed', sequence, at, bytes);
    this.#sql.taint.run(at, sequence, bytes);
  }

  #write(before: readonly Standing[], after: readonly Standing[], at: number): readonly Standing[] {
    const changed = after.filter((each, n) => each !== before[n]);
    for (const { serial, state, sequence } of changed)
      this.#sql.move.run(state, sequence, at, fromHex(serial));
    return changed;
  }
}

function jwtKeyOf(row: Readonly<Record<string, unknown>>): StoredJwtKey {
  const [state, algorithm, spki] = [String(row['state']), String(row['algorithm']), row['spki']];
  if (!isAuthorityState(state)) throw new IdentityError('store', `JWT key state ${state}`);
  if (!isKeyAlgorithm(algorithm)) throw new IdentityError('store', `JWT key algorithm ${algorithm}`);
  if (!(spki instanceof Uint8Array)) throw new IdentityError('store', 'column spki is not bytes');
  return {
    kind: 'jwt',
    serial: serialOf(row),
    state,
    algorithm,
    spki,
    key: { home: String(row['key_home']), reference: String(row['key_reference']) },
    ...sequenceOf(row),
    movedAt: new Date(Number(row['moved_at'])),
    ...(row['tainted_at'] !== null && { taintedAt: new Date(Number(row['tainted_at'])) }),
  };
}

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    all: sql('SELECT * FROM jwt_keys ORDER BY n'),
    insert: sql(`
      INSERT INTO jwt_keys (serial, state, algorithm, spki, key_home, key_reference, sequence, moved_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)`),
    move: sql('UPDATE jwt_keys SET state = ?, sequence = ?, moved_at = ? WHERE serial = ?'),
    taint: sql('UPDATE jwt_keys SET tainted_at = ?, sequence = ? WHERE serial = ?'),
  };
}
