/** What roots are asked for that are elsewhere, and their lists: part of the SQLite store. */
import type { DatabaseSync } from 'node:sqlite';
import { hex } from '@chancery/shared/ground/bytes.ts';
import type { AskedIntermediate, RootCrl } from '../../request-store.ts';
import { fromHex } from './rows.ts';

/** As it may cross to another thread. */
export interface RootCrlRow extends Pick<RootCrl, 'root' | 'number'> {
  /** Hexadecimal. */
  readonly der: string;
}

/** To the row. */
export const crlRowOf = ({ root, number, der }: RootCrl): RootCrlRow => ({ root, number, der: hex(der) });

/** From the row. */
export const rootCrlOf = ({ root, number, der }: RootCrlRow): RootCrl => ({
  root,
  number,
  der: fromHex(der),
});

/** Prepares its statements once, on a connection that the caller owns. Every method blocks. */
export class AskedTable {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
  }

  /** The first that was made first. */
  open(): readonly AskedIntermediate[] {
    return this.#sql.open.all().map((row) => ({
      label: String(row['label']),
      root: String(row['root']),
      key: { home: String(row['key_home']), reference: String(row['key_reference']) },
      pem: String(row['pem']),
      madeAt: new Date(Number(row['made_at'])),
    }));
  }

  /** False if one for its root is open. */
  add({ label, root, key, pem, madeAt }: AskedIntermediate): boolean {
    return this.#sql.add.run(root, label, key.home, key.reference, pem, madeAt.getTime()).changes === 1;
  }

  /** False if it is not open. */
  end(label: string): boolean {
    return this.#sql.end.run(label).changes === 1;
  }

  /** The newest list of each root. */
  crls(): readonly RootCrlRow[] {
    return this.#sql.crls.all().map((row) => ({
      root: String(row['root']),
      number: BigInt(String(row['number'])),
      der: hex(row['der'] as Uint8Array),
    }));
  }

  /** False if there is one whose number is not smaller. */
  saveCrl({ root, number, der }: RootCrlRow): boolean {
    const before = this.crls().find((each) => each.root === root);
    if (before !== undefined && before.number >= number) return false;
    this.#sql.saveCrl.run(root, String(number), fromHex(der));
    return true;
  }
}

function statements(db: DatabaseSync) {
  return {
    open: db.prepare('SELECT * FROM authority_requests ORDER BY made_at, label'),
    add: db.prepare('INSERT INTO authority_requests VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING'),
    crls: db.prepare('SELECT * FROM root_crls ORDER BY root'),
    saveCrl: db.prepare('INSERT OR REPLACE INTO root_crls VALUES (?, ?, ?)'),
    end: db.prepare('DELETE FROM authority_requests WHERE label = ?'),
  };
}
