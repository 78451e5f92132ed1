/** The table of revocations, and what certificates a node has: part of the SQLite store. */
import type { DatabaseSync } from 'node:sqlite';
import { nodeName, nodesOf } from '@chancery/shared/evidence/node.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import {
  type MadeRevocation,
  parseReason,
  parseTarget,
  type Target,
} from '@chancery/shared/revocation/revocation.ts';
import type { RevocationDraft, StoredRevocations, UnexpiredCertificate } from '../../store.ts';
import type { CertificatePages } from './certificate-pages.ts';

type Row = Readonly<Record<string, unknown>>;

interface Lifting {
  readonly number: number;
  readonly by: string;
  /** Milliseconds. */
  readonly at: number;
  readonly sequence: bigint;
}

/**
 * Prepares its statements once, on a connection that the caller owns. Every method blocks; the caller holds the
 * transaction.
 */
export class RevocationTable {
  readonly #sql: ReturnType<typeof statements>;
  readonly #pages: CertificatePages;

  constructor(db: DatabaseSync, pages: CertificatePages) {
    this.#sql = statements(db);
    this.#pages = pages;
  }

  /** Throws revocation if `max` are in force. */
  ensureRoom(now: Date, max: number): void {
    const inForce = Number(this.#sql.inForceCount.get(now.getTime())?.['n']);
    ensure(inForce < max, 'revocation', `${max} revocations are in force: lift some, or use a pattern`);
  }

  /** Within the transaction of its audit entry: every certificate that was to be recorded before has been. */
  insert({ target, reason, by, until }: RevocationDraft, now: Date, sequence: bigint): MadeRevocation {
    const end = until === undefined ? null : until.getTime();
    const row = [target.kind, target.value, reason, by, now.getTime(), end, sequence];
    const number = Number(this.#sql.insert.run(...row).lastInsertRowid);
    const made = { number, target, serials: [], reason, by, at: now, until };
    return withSerials([made], this.#pages.all(now.getTime(), target))[0] ?? made;
  }

  /** Throws revocation if none of this number is in force. */
  standing(number: number, now: Date): MadeRevocation {
    const row = this.#sql.one.get(number, now.getTime());
    ensure(row !== undefined, 'revocation', `there is no revocation ${number} in force`);
    return revocationOf(row);
  }

  /** Marks one revocation as lifted. Runs in the transaction of the caller. Blocks. */
  lift({ number, by, at, sequence }: Lifting): void {
    this.#sql.lift.run(by, at, sequence, number);
  }

  /** The revocations in force at `now`, each with the serials that it covers. Blocks. */
  inForce(now: Date): StoredRevocations {
    const known = withSerials(this.#sql.inForce.all(now.getTime()).map(revocationOf), this.#all(now));
    const list = withMore(known, this.#sql.handed.all(now.getTime()));
    return { list, sequence: BigInt(Number(this.#sql.last.get()?.['sequence'] ?? 0)) };
  }

  #all(now: Date): Iterable<UnexpiredCertificate> {
    return this.#pages.all(now.getTime(), ANYBODY);
  }
}

/** Matches every certificate. */
const ANYBODY = { kind: 'pattern', value: '*' } as const;

/** Adds what the targets themselves do not tell, in one reading however many they are. */
function withSerials(
  list: readonly MadeRevocation[],
  certified: Iterable<UnexpiredCertificate>,
): readonly MadeRevocation[] {
  const found = new Map<string, string[]>();
  for (const { target } of list)
    if (target.kind === 'serial' || target.kind === 'node') found.set(nameOf(target), []);
  if (found.size > 0)
    for (const each of certified)
      for (const target of widerTargets(each)) found.get(nameOf(target))?.push(each.serial);
  return list.map((each) => ({ ...each, serials: found.get(nameOf(each.target)) ?? [] }));
}

/** Adds the serials that were handed back with a revocation: they are on no record. */
function withMore(list: readonly MadeRevocation[], handed: readonly Row[]): readonly MadeRevocation[] {
  const more = Map.groupBy(handed, (row) => Number(row['revocation']));
  return list.map((each) => {
    const added = more.get(each.number)?.map((row) => String(row['serial'])) ?? [];
    return added.length === 0 ? each : { ...each, serials: [...new Set([...each.serials, ...added])] };
  });
}

/** What takes a certificate along besides its own serial and SPIFFE ID. */
function widerTargets({ origin, node }: UnexpiredCertificate): readonly Target[] {
  const nodes = nodesOf(node).map((each): Target => ({ kind: 'node', value: nodeName(each) }));
  return origin === undefined ? nodes : [{ kind: 'serial', value: origin }, ...nodes];
}

const nameOf = ({ kind, value }: Target): string => `${kind} ${value}`;

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  const inForce = 'lifted_at IS NULL AND (until IS NULL OR until > ?)';
  return {
    // The life before may have given numbers that are not on record.
    insert: sql(`INSERT INTO revocations VALUES ((SELECT max(n) + 1 FROM
      (SELECT 0 AS n UNION ALL SELECT n FROM revocations UNION ALL SELECT sequence FROM lives)),
      ?, ?, ?, ?, ?, ?, NULL, NULL, ?)`),
    one: sql(`SELECT * FROM revocations WHERE n = ? AND ${inForce}`),
    lift: sql('UPDATE revocations SET lifted_by = ?, lifted_at = ?, sequence = ? WHERE n = ?'),
    inForce: sql(`SELECT * FROM revocations WHERE ${inForce} ORDER BY n`),
    handed: sql('SELECT revocation, serial FROM handed_serials WHERE until > ?'),
    inForceCount: sql(`SELECT count(*) AS n FROM revocations WHERE ${inForce}`),
    // A restored CA may have lost all of them, and agents know a later state.
    last: sql(`SELECT max(sequence) AS sequence FROM
      (SELECT sequence FROM revocations UNION ALL SELECT sequence FROM lives)`),
  };
}

function revocationOf(row: Row): MadeRevocation {
  return {
    number: Number(row['n']),
    target: parseTarget(String(row['kind']), String(row['value'])),
    serials: [],
    reason: parseReason(String(row['reason'])),
    by: String(row['made_by']),
    at: new Date(Number(row['made_at'])),
    until: row['until'] === null ? undefined : new Date(Number(row['until'])),
  };
}
