/** Reviews that were signed off, and when each Identity was last used: part of the SQLite store. */
import type { DatabaseSync } from 'node:sqlite';
import type { IdentityUses, MadeSignOff, SignOff } from '../../operator-store.ts';

type Row = Readonly<Record<string, unknown>>;

/** Records that a page looks at: a few milliseconds. */
const WINDOW_ROWS = 10_000;

/** Prepares its statements once, on a connection that the caller owns. Every method blocks. */
export class ReviewTable {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
  }

  /** Of the records with a number below `below`: a page. The last page has those whose records were pruned, too. */
  uses(below: number | undefined): IdentityUses {
    const { first, last } = this.#sql.numbers.get() ?? {};
    const top = below ?? Number(last ?? 0) + 1;
    const bottom = top - WINDOW_ROWS;
    const list = this.#sql.uses.all(bottom, top).map(useOf);
    if (bottom > Number(first ?? 0)) return { list, below: bottom };
    return { list: [...list, ...this.#sql.kept.all().map(useOf)], below: undefined };
  }

  /** Remembers the uses of certificates that are about to be pruned: the same as `prune` of the writes. */
  keepUses(before: number, limit: number): void {
    this.#sql.keep.run(before, limit);
  }

  /** The newest of each resource. */
  signOffs(): readonly MadeSignOff[] {
    return this.#sql.signOffs.all().map(signOffOf);
  }

  /** Takes the place of the one before. */
  save({ kind, name, digest, reviewBy, reason, by }: SignOff, at: number): void {
    this.#sql.save.run(kind, name, digest, reviewBy ?? null, reason, by, at);
  }
}

const useOf = (row: Row) => ({ name: String(row['name']), at: new Date(Number(row['at'])) });

const signOffOf = (row: Row): MadeSignOff => ({
  kind: String(row['kind']),
  name: String(row['name']),
  digest: String(row['digest']),
  reviewBy: row['review_by'] === null ? undefined : String(row['review_by']),
  reason: String(row['reason']),
  by: String(row['made_by']),
  at: new Date(Number(row['made_at'])),
});

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    numbers: sql('SELECT min(n) AS first, max(n) AS last FROM certificates'),
    uses: sql(`SELECT identity AS name, max(recorded_at) AS at FROM certificates
      WHERE n >= ? AND n < ? GROUP BY identity`),
    kept: sql('SELECT name, at FROM identity_uses'),
    keep: sql(`INSERT INTO identity_uses SELECT identity, max(recorded_at) FROM certificates WHERE n IN
      (SELECT n FROM certificates WHERE not_after < ? ORDER BY not_after LIMIT ?) GROUP BY identity
      ON CONFLICT (name) DO UPDATE SET at = max(at, excluded.at)`),
    signOffs: sql('SELECT * FROM sign_offs ORDER BY kind, name'),
    save: sql('INSERT OR REPLACE INTO sign_offs VALUES (?, ?, ?, ?, ?, ?, ?)'),
  };
}
