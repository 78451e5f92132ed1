/** The open requests for intermediates: part of the SQLite store. */
import type { DatabaseSync } from 'node:sqlite';
import type { AuthorityRequest } from '../../request-store.ts';

/** Prepares its statements once, on a connection that the caller owns. Every method blocks. */
export class AskedTable {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
  }

  /** The first that was made first. */
  open(): readonly AuthorityRequest[] {
    return this.#sql.open.all().map((row) => ({
      label: String(row['label']),
      root: String(row['root']),
      key: { home: String(row['key_home']), reference: String(row['key_reference']) },
      pem: String(row['pem']),
      madeAt: new Date(Number(row['made_at'])),
    }));
  }

  /** False if one for its root is open. */
  add({ label, root, key, pem, madeAt }: AuthorityRequest): boolean {
    return this.#sql.add.run(root, label, key.home, key.reference, pem, madeAt.getTime()).changes === 1;
  }

  /** False if it is not open. */
  end(label: string): boolean {
    return this.#sql.end.run(label).changes === 1;
  }
}

function statements(db: DatabaseSync) {
  return {
    open: db.prepare('SELECT * FROM authority_requests ORDER BY made_at, label'),
    add: db.prepare('INSERT INTO authority_requests VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING'),
    end: db.prepare('DELETE FROM authority_requests WHERE label = ?'),
  };
}
