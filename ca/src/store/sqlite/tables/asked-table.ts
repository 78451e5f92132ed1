/** The open request for an intermediate: part of the SQLite store. */
import type { DatabaseSync } from 'node:sqlite';
import type { AuthorityRequest } from '../../request-store.ts';

/** Prepares its statements once, on a connection that the caller owns. Every method blocks. */
export class AskedTable {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
  }

  /** The open one. */
  open(): AuthorityRequest | undefined {
    const row = this.#sql.open.get();
    return (
      row && {
        label: String(row['label']),
        root: String(row['root']),
        key: { home: String(row['key_home']), reference: String(row['key_reference']) },
        pem: String(row['pem']),
        madeAt: new Date(Number(row['made_at'])),
      }
    );
  }

  /** False if one is open. */
  add({ label, root, key, pem, madeAt }: AuthorityRequest): boolean {
    return this.#sql.add.run(label, root, key.home, key.reference, pem, madeAt.getTime()).changes === 1;
  }

  /** False if it is not the open one. */
  end(label: string): boolean {
    return this.#sql.end.run(label).changes === 1;
  }
}

function statements(db: DatabaseSync) {
  return {
    open: db.prepare('SELECT * FROM authority_request'),
    add: db.prepare('INSERT INTO authority_request VALUES (1, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING'),
    end: db.prepare('DELETE FROM authority_request WHERE label = ?'),
  };
}
