/** What waits for a second person: part of the SQLite store. */
import type { DatabaseSync } from 'node:sqlite';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { RevocablePeer } from '@chancery/shared/revocation/revocation-set.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Countersigner, RequestBounds, RequestDraft, StoredRequest } from '../../operator-store.ts';

type Row = Readonly<Record<string, unknown>>;

/** Prepares its statements once, on a connection that the caller owns. Every method blocks; times are milliseconds. */
export class CountersignTable {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
  }

  /** Those that have not ended and were not used, by their numbers. */
  open(now: number): readonly StoredRequest[] {
    return this.#sql.open.all(now).map(requestOf);
  }

  /** The open one of this person with this digest; undefined if there is none. */
  same(digest: string, person: string, now: number): StoredRequest | undefined {
    const row = this.#sql.same.get(now, digest, person);
    return row && requestOf(row);
  }

  /** Throws countersign if as many are open as may be. */
  add(draft: RequestDraft, at: number, { all, each }: RequestBounds): StoredRequest {
    const open = this.open(at);
    const own = open.filter(({ person }) => person === draft.person);
    const advice = `withdraw one: chancery-ca countersign ${own[0]?.number} --withdraw`;
    ensure(
      own.length < each,
      'countersign',
      `${own.length} requests of yours wait, and at most ${each} may; ${advice}`,
    );
    ensure(
      open.length < all,
      'countersign',
      `${open.length} requests wait for a second person, and at most ${all} may`,
    );
    const { verb, digest, about, person, by, until } = draft;
    const { lastInsertRowid } = this.#sql.add.run(verb, digest, about, person, by, at, until.getTime());
    return { ...draft, number: Number(lastInsertRowid), at: new Date(at), ...NOBODY };
  }

  /** Throws countersign unless it is open, not countersigned, and another person's. */
  countersign(number: number, { person, peer, by }: Countersigner, at: number): StoredRequest {
    const found = this.#one(number, at);
    ensure(found.person !== person, 'countersign', `request ${number} is your own: another person is needed`);
    const { countersignedBy } = found;
    ensure(countersignedBy === undefined, 'countersign', `${countersignedBy} has countersigned it already`);
    this.#sql.countersign.run(by, JSON.stringify(peer ?? null), at, number);
    return { ...found, countersignedBy: by, countersigner: peer };
  }

  /** Throws countersign unless it is open, and this person's own. */
  withdraw(number: number, { person }: Countersigner, at: number): StoredRequest {
    const found = this.#one(number, at);
    const isOwn = person === undefined || found.person === person;
    ensure(isOwn, 'countersign', `request ${number} is of ${found.by}, who alone may withdraw it`);
    this.#sql.end.run(at, number);
    return found;
  }

  /** Throws countersign. */
  #one(number: number, at: number): StoredRequest {
    const found = this.open(at).find((each) => each.number === number);
    ensure(found !== undefined, 'countersign', `there is no request ${number} that waits`);
    return found;
  }

  /** False if it was used by then. */
  use(number: number, at: number): boolean {
    return this.#sql.use.run(at, number).changes === 1;
  }
}

const requestOf = (row: Row): StoredRequest => ({
  number: Number(row['n']),
  verb: String(row['verb']),
  digest: String(row['digest']),
  about: String(row['about']),
  person: parseSpiffeId(String(row['person'])),
  by: String(row['requested_by']),
  at: new Date(Number(row['requested_at'])),
  until: new Date(Number(row['until'])),
  ...(row['countersigner'] === null ? NOBODY : countersignerOf(row)),
});

const NOBODY = { countersignedBy: undefined, countersigner: undefined };

function countersignerOf(row: Row): Pick<StoredRequest, 'countersignedBy' | 'countersigner'> {
  // Written by `countersign` from this very type.
  const peer = JSON.parse(String(row['countersigner'])) as RevocablePeer | null;
  return { countersignedBy: String(row['countersigned_by']), countersigner: peer ?? undefined };
}

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  const open = 'FROM requests WHERE used_at IS NULL AND until > ?1';
  return {
    open: sql(`SELECT * ${open} ORDER BY n`),
    same: sql(`SELECT * ${open} AND digest = ?2 AND person = ?3 ORDER BY n LIMIT 1`),
    add: sql(`INSERT INTO requests (verb, digest, about, person, requested_by, requested_at, until)
      VALUES (?, ?, ?, ?, ?, ?, ?)`),
    countersign: sql(
      'UPDATE requests SET countersigned_by = ?, countersigner = ?, countersigned_at = ? WHERE n = ?',
    ),
    end: sql('UPDATE requests SET until = ? WHERE n = ?'),
    use: sql('UPDATE requests SET used_at = ? WHERE n = ? AND used_at IS NULL'),
  };
}
