/**
 * Certificates page by page: part of the SQLite store. A page has a bounded number of rows, and the database looks at a
 * bounded number of rows for it, so writes come in between however many certificates there are.
 */
import type { DatabaseSync } from 'node:sqlite';
import { joinNodes } from '@chancery/shared/evidence/node.ts';
import type { Target } from '@chancery/shared/revocation/revocation.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type {
  Holding,
  HoldingsPage,
  HoldingsQuery,
  RecordedIssuance,
  UnexpiredCertificate,
  UnexpiredPage,
  UnexpiredPlace,
  Unused,
} from '../../store.ts';
import { fromHex, issuanceOf, issuerOf, originOf, serialOf } from './rows.ts';

type Row = Readonly<Record<string, unknown>>;
type Value = string | number | Uint8Array;

/** Rows of a page. */
const PAGE_ROWS = 1000;
/** Rows that are looked at for a page: a few milliseconds. */
const WINDOW_ROWS = 10_000;

/** Before all places: no certificate ends later than the latest Date. */
const START: UnexpiredPlace = { notAfter: 8.64e15, n: Number.MAX_SAFE_INTEGER };
const END: UnexpiredPlace = { notAfter: 0, n: 0 };
/** The greatest that SQLite holds. */
const MAX_NUMBER = 2n ** 63n - 1n;

/** Where a page of `issued` continues: below this number. */
export interface IssuedPage {
  readonly list: readonly RecordedIssuance[];
  readonly below: number | undefined;
}

/** Prepares its statements once, on a connection that the caller owns. Every method blocks. */
export class CertificatePages {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
  }

  /** Unexpired certificates that the target could match, the last to end first. */
  page(now: number, target: Target, after: UnexpiredPlace = START): UnexpiredPage {
    const bottom = isIndexed(target) ? undefined : this.#bottom(now, after);
    const { notAfter, n } = bottom ?? END;
    const from = [now, after.notAfter, after.n, notAfter, n, PAGE_ROWS];
    const rows = this.#sql.page[target.kind].all(...from, ...filterOf(target));
    const last = rows.length === PAGE_ROWS ? rows.at(-1) : undefined;
    return { list: rows.map(certifiedOf), next: last === undefined ? bottom : placeOf(last) };
  }

  /** All pages in one go, for a transaction: use it for targets that an index finds. */
  *all(now: number, target: Target): Iterable<UnexpiredCertificate> {
    let after: UnexpiredPlace | undefined;
    do {
      const { list, next } = this.page(now, target, after);
      yield* list;
      after = next;
    } while (after !== undefined);
  }

  /** Unexpired certificates under one authority, by their holders: those of one window. */
  holdings({ issuer, now, bundleBelow, after = START }: HoldingsQuery): HoldingsPage {
    const [name, time] = [fromHex(issuer), now.getTime()];
    const from = [name, time, after.notAfter, after.n] as const;
    const row = this.#sql.issuerBottom.get(...from, WINDOW_ROWS - 1);
    const bottom = row && placeOf(row);
    const { notAfter, n } = bottom ?? END;
    const list = this.#sql.holdings.all(...from, notAfter, n, bundleBelow ?? MAX_NUMBER).map(holdingOf);
    return { list, next: bottom };
  }

  /** Whether an unexpired certificate is on record under one of these authorities. */
  isUsed({ issuers, exceptPlatform, now }: Unused): boolean {
    const { used } = this.#sql;
    return issuers.some((each) => used.get(fromHex(each), now.getTime(), exceptPlatform) !== undefined);
  }

  /** Of one SPIFFE ID, newest first, from those with a number below `below`: a page. */
  issuedTo(id: string, limit: number, below?: number): IssuedPage {
    const { first, last } = this.#sql.numbers.get() ?? {};
    const top = below ?? Number(last ?? 0) + 1;
    const bottom = top - WINDOW_ROWS;
    const list = this.#sql.issuedTo.all(bottom, top, id, limit).map(issuanceOf);
    return { list, below: bottom > Number(first ?? 0) ? bottom : undefined };
  }

  /** The last row of the window that begins after this place; undefined if all that is left is in it. */
  #bottom(now: number, { notAfter, n }: UnexpiredPlace): UnexpiredPlace | undefined {
    const row = this.#sql.bottom.get(now, notAfter, n, WINDOW_ROWS - 1);
    return row && placeOf(row);
  }
}

/** An index finds few rows, so all are looked at. */
const isIndexed = ({ kind }: Target): boolean => kind !== 'id' && kind !== 'pattern';

function filterOf({ kind, value }: Target): readonly Value[] {
  if (kind === 'authority') return [];
  if (kind === 'id') return [value];
  if (kind === 'pattern') return [value.split('*', 1)[0] ?? ''];
  if (kind === 'serial') return [fromHex(value)];
  const slash = value.indexOf('/');
  const [platform, node] = [value.slice(0, slash), value.slice(slash + 1)];
  // As it stands between the nodes of other platforms.
  return [platform, node, joinNodes(['', node, ''])];
}

const placeOf = (row: Row): UnexpiredPlace => ({ notAfter: Number(row['not_after']), n: Number(row['n']) });

const certifiedOf = (row: Row): UnexpiredCertificate => ({
  serial: serialOf(row),
  ...originOf(row),
  id: parseSpiffeId(String(row['id'])),
  identity: String(row['identity']),
  issuer: issuerOf(row),
  node: { platform: String(row['platform']), node: String(row['node']) },
});

const holdingOf = (row: Row): Holding => ({
  id: parseSpiffeId(String(row['id'])),
  node: { platform: String(row['platform']), node: String(row['node']) },
  count: Number(row['count']),
  until: new Date(Number(row['until'])),
});

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  const page = (filter: string, notAfter = 'not_after') =>
    sql(`SELECT n, not_after, serial, id, identity, issuer, platform, node, origin FROM certificates
      WHERE ${notAfter} > ?1 AND (${notAfter}, n) < (?2, ?3) AND (${notAfter}, n) >= (?4, ?5) AND ${filter}
      ORDER BY not_after DESC, n DESC LIMIT ?6`);
  /** A unary plus keeps the index on not_after out. */
  const among = (numbers: string) => page(`n IN (${numbers})`, '+not_after');
  const under = 'issuer = ?1 AND not_after > ?2 AND (not_after, n) < (?3, ?4)';
  return {
    issuerBottom: sql(`SELECT n, not_after FROM certificates WHERE ${under}
      ORDER BY not_after DESC, n DESC LIMIT 1 OFFSET ?5`),
    holdings: sql(`SELECT id, platform, node, count(*) AS count, max(not_after) AS until FROM certificates
      WHERE ${under} AND (not_after, n) >= (?5, ?6) AND bundle < ?7
      GROUP BY id, platform, node ORDER BY until DESC, id, platform, node`),
    used: sql('SELECT 1 FROM certificates WHERE issuer = ? AND not_after > ? AND platform <> ? LIMIT 1'),
    bottom: sql(`SELECT n, not_after FROM certificates WHERE not_after > ?1 AND (not_after, n) < (?2, ?3)
      ORDER BY not_after DESC, n DESC LIMIT 1 OFFSET ?4`),
    page: {
      serial: among(`SELECT n FROM certificates WHERE serial = ?7
        UNION ALL SELECT n FROM certificates WHERE origin = ?7`),
      id: page('id = ?7'),
      // A certificate names who signed it and not the key: `holdings` finds those.
      authority: page('FALSE'),
      pattern: page('substr(id, 1, length(?7)) = ?7'),
      // Of several platforms behind one certificate any may be the node's.
      node: among(`SELECT n FROM certificates WHERE node = ?8 AND platform = ?7
        UNION ALL SELECT n FROM certificates WHERE instr(platform, '+') > 0 AND not_after > ?1
          AND instr('+' || node || '+', ?9) > 0`),
    },
    numbers: sql('SELECT min(n) AS first, max(n) AS last FROM certificates'),
    issuedTo: sql(`SELECT * FROM certificates WHERE n >= ?1 AND n < ?2 AND id = ?3 ORDER BY n DESC LIMIT ?4`),
  };
}
