/** What is read from the database: statements are prepared once, and each read looks at a bounded number of rows. */
import type { DatabaseSync } from 'node:sqlite';
import type { Node } from '@chancery/shared/evidence/node.ts';
import type { Target } from '@chancery/shared/revocation/revocation.ts';
import type { EntryQuery, Spool } from '../log-store.ts';
import type { Recovery } from '../recovery-store.ts';
import type { HoldingsQuery, UnexpiredPlace } from '../store.ts';
import type { JwtTable } from './jwt/jwt-table.ts';
import type { RecoveryTable } from './recovery-table.ts';
import type { AskedTable } from './tables/asked-table.ts';
import type { AuthorityTable } from './tables/authority-table.ts';
import type { CertificatePages } from './tables/certificate-pages.ts';
import type { CountersignTable } from './tables/countersign-table.ts';
import type { EntryIndex } from './tables/entry-index.ts';
import type { EntrySearch } from './tables/entry-search.ts';
import type { LogTable } from './tables/log-table.ts';
import type { PruneTable } from './tables/prune-table.ts';
import type { ReviewTable } from './tables/review-table.ts';
import type { RevocationTable } from './tables/revocation-table.ts';
import { fromHex, issuanceOf, SUCCESSIONS, sequenceOf, serialsFrom } from './tables/rows.ts';
import type { SpoolTable } from './tables/spool-table.ts';

export type Reads = ReturnType<typeof readsOf>;

/** Tables that have a class of their own. */
export interface Tables {
  readonly log: LogTable;
  readonly index: EntryIndex;
  readonly entries: EntrySearch;
  readonly prune: PruneTable;
  readonly authorities: AuthorityTable;
  readonly jwtKeys: JwtTable;
  readonly asked: AskedTable;
  readonly revocations: RevocationTable;
  readonly pages: CertificatePages;
  readonly spools: SpoolTable;
  readonly reviews: ReviewTable;
  readonly requests: CountersignTable;
  readonly recovery: RecoveryTable;
}

/** Times are milliseconds. */
export function readsOf(db: DatabaseSync, tables: Tables) {
  const { authorities, revocations, pages, log, entries, spools, reviews, requests } = tables;
  const sql = statements(db);
  return {
    events: (after: number, limit: number) => sql.events.all(after, limit),
    leaves: (after: number, limit: number) => log.leaves(after, limit),
    waiting: () => log.waiting(),
    checkpoint: (size: number | undefined) => log.newest(size),
    search: (query: EntryQuery) => entries.search(query),
    pruning: (before: number, unit: number) => ({
      ...tables.prune.state(),
      due: tables.prune.due(before, unit),
      next: tables.prune.next(unit),
    }),
    reportedThrough: (spool: Spool) => spools.through(spool),
    indexOf: (sequence: number) => entries.indexOf(sequence),
    newestRecordAt: () => {
      const at = sql.newestEvent.get()?.['at'];
      return at === undefined ? undefined : Number(at);
    },
    issuance: (serial: string) => {
      const row = sql.bySerial.get(fromHex(serial));
      return row && issuanceOf(row);
    },
    issuedFrom: (prefix: string) => sql.between.all(...serialsFrom(prefix)).map(issuanceOf),
    issued: (limit: number) => sql.newest.all(limit).map(issuanceOf),
    issuedTo: (id: string, limit: number, below: number | undefined) => pages.issuedTo(id, limit, below),
    certified: (now: number, target: Target, after: UnexpiredPlace | undefined) =>
      pages.page(now, target, after),
    holdings: (query: HoldingsQuery) => pages.holdings(query),
    successions: (now: number, limit: number) => String(sql.successions.get(now, limit)?.['text']),
    identityUses: (below: number | undefined) => reviews.uses(below),
    signOffs: () => reviews.signOffs(),
    requests: (now: number) => requests.open(now),
    recovery: (now: number): Recovery | undefined => tables.recovery.current(now),
    life: () => Number(sql.life.get()?.['n'] ?? 0),
    authorities: () => authorities.all(),
    allAuthorities: () => ({ authorities: authorities.all(), jwtKeys: tables.jwtKeys.all() }),
    authorityRequests: () => tables.asked.open(),
    rootCrls: () => tables.asked.crls(),
    registry: () => {
      const row = sql.registry.get();
      return (
        row && { version: Number(row['version']), resources: String(row['resources']), ...sequenceOf(row) }
      );
    },
    resourcesAt: (at: number) => {
      const resources = sql.resourcesAt.get(at)?.['resources'];
      return resources === undefined ? undefined : String(resources);
    },
    revocations: (now: number) => revocations.inForce(new Date(now)),
    nodeStates: (platform: string, prefix: string) =>
      sql.nodes.all(platform, prefix, `${prefix}\u{10ffff}`).map((row) => String(row['state'])),
    nodeState: ({ platform, node }: Node) => {
      const row = sql.node.get(platform, node);
      return row && String(row['state']);
    },
  };
}

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    events: sql('SELECT * FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?'),
    life: sql('SELECT max(n) AS n FROM lives'),
    newestEvent: sql('SELECT at FROM audit ORDER BY sequence DESC LIMIT 1'),
    bySerial: sql('SELECT * FROM certificates WHERE serial = ?'),
    between: sql('SELECT * FROM certificates WHERE serial BETWEEN ? AND ? ORDER BY serial LIMIT 1000'),
    newest: sql('SELECT * FROM certificates ORDER BY n DESC LIMIT ?'),
    successions: sql(SUCCESSIONS),
    registry: sql('SELECT * FROM registry ORDER BY version DESC LIMIT 1'),
    resourcesAt: sql('SELECT resources FROM registry WHERE applied_at <= ? ORDER BY version DESC LIMIT 1'),
    nodes: sql('SELECT state FROM nodes WHERE platform = ? AND node BETWEEN ? AND ? LIMIT 10000'),
    node: sql('SELECT state FROM nodes WHERE platform = ? AND node = ?'),
  };
}
