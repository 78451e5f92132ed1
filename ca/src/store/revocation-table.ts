/** The table of revocations, and what certificates a node has: part of the SQLite store. */
import type { DatabaseSync } from 'node:sqlite';
import { ensure } from '@chancery/shared/errors.ts';
import { partsOf } from '@chancery/shared/evidence/several.ts';
import {
  type MadeRevocation,
  parseReason,
  parseTarget,
  type Target,
} from '@chancery/shared/revocation/revocation.ts';
import { nodeName } from '@chancery/shared/revocation/revocation-set.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { originOf, serialOf } from './rows.ts';
import type { Certified, RevocationDraft, StoredRevocations } from './store.ts';

type Row = Readonly<Record<string, unknown>>;

export class RevocationTable {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
  }

  /** Within the transaction of its audit entry: every certificate that was to be recorded before has been. */
  insert({ target, reason, by, until }: RevocationDraft, now: Date): MadeRevocation {
    const end = until === undefined ? null : until.getTime();
    const row = [target.kind, target.value, reason, by, now.getTime(), end];
    const number = Number(this.#sql.insert.run(...row).lastInsertRowid);
    const made = { number, target, serials: [], reason, by, at: now, until };
    return this.#withSerials([made], now)[0] ?? made;
  }

  /** Throws revocation. */
  lift(number: number, by: string, now: Date): MadeRevocation {
    const row = this.#sql.one.get(number, now.getTime());
    ensure(row !== undefined, 'revocation', `there is no revocation ${number} in force`);
    this.#sql.lift.run(by, now.getTime(), number);
    return revocationOf(row);
  }

  inForce(now: Date): StoredRevocations {
    const list = this.#withSerials(this.#sql.inForce.all(now.getTime()).map(revocationOf), now);
    const { made, lifted } = this.#sql.count.get() ?? {};
    return { list, sequence: BigInt(Number(made) + Number(lifted)) };
  }

  *certified(now: Date): Iterable<Certified> {
    for (const row of this.#sql.certified.iterate(now.getTime()))
      yield {
        serial: serialOf(row),
        ...originOf(row),
        id: parseSpiffeId(String(row['id'])),
        holder: { platform: String(row['platform']), node: String(row['node']) },
      };
  }

  /** Adds what the targets themselves do not tell, in one reading however many they are. */
  #withSerials(list: readonly MadeRevocation[], now: Date): readonly MadeRevocation[] {
    const found = new Map<string, string[]>();
    for (const { target } of list)
      if (target.kind === 'serial' || target.kind === 'node') found.set(nameOf(target), []);
    if (found.size > 0)
      for (const each of this.certified(now))
        for (const target of widerTargets(each)) found.get(nameOf(target))?.push(each.serial);
    return list.map((each) => ({ ...each, serials: found.get(nameOf(each.target)) ?? [] }));
  }
}

/** What takes a certificate along besides its own serial and SPIFFE ID. */
function widerTargets({ origin, holder }: Certified): readonly Target[] {
  const nodes = partsOf(holder).map((each): Target => ({ kind: 'node', value: nodeName(each) }));
  return origin === undefined ? nodes : [{ kind: 'serial', value: origin }, ...nodes];
}

const nameOf = ({ kind, value }: Target): string => `${kind} ${value}`;

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  const inForce = 'lifted_at IS NULL AND (until IS NULL OR until > ?)';
  return {
    insert: sql('INSERT INTO revocations VALUES (NULL, ?, ?, ?, ?, ?, ?, NULL, NULL)'),
    one: sql(`SELECT * FROM revocations WHERE n = ? AND ${inForce}`),
    lift: sql('UPDATE revocations SET lifted_by = ?, lifted_at = ? WHERE n = ?'),
    inForce: sql(`SELECT * FROM revocations WHERE ${inForce} ORDER BY n`),
    count: sql('SELECT count(*) AS made, count(lifted_at) AS lifted FROM revocations'),
    certified: sql('SELECT serial, id, platform, node, origin FROM certificates WHERE not_after > ?'),
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
