/** The table of what a restored CA has heard of the life before: part of the SQLite store. */
import type { DatabaseSync } from 'node:sqlite';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { MadeRevocation, Revocation } from '@chancery/shared/revocation/revocation.ts';
import type { HandedBack, Merged, Recovery } from '../recovery-store.ts';
import type { Numbers } from './tables/authority-table.ts';
import { fromHex } from './tables/rows.ts';
import { TakenAway } from './taken-away.ts';

interface Held extends Recovery {
  readonly life: number;
}

/** How a write of the store tells an event and takes the next number. */
interface Writing {
  readonly at: number;
  readonly numbers: Numbers;
  readonly tell: (event: AuditEvent) => void;
}

type Row = Readonly<Record<string, unknown>>;

const NOTHING: Merged = { made: [], lifted: [], kept: [], tainted: [] };

/** Prepares its statements once; every method blocks, and the caller holds the transaction. */
export class RecoveryTable {
  readonly #sql: ReturnType<typeof statements>;
  readonly #takenAway: TakenAway;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
    this.#takenAway = new TakenAway(db);
  }

  /** Of the newest life; undefined for a CA that was never restored. */
  current(): Held | undefined {
    const row = this.#sql.current.get();
    if (row === undefined) return undefined;
    const heard = this.#sql.heard.all(Number(row['life'])).map((each) => String(each['name']));
    const number = (name: string): number => Number(row[name]);
    const [life, start, merged, entries, lost] = ['life', 'start', 'merged', 'entries', 'lost'].map(number);
    return {
      ...{ life: life ?? 0, start: start ?? 0, merged: merged ?? 0, entries: entries ?? 0, lost: lost ?? 0 },
      holds: row['holds'] === 1,
      since: new Date(Number(row['since'])),
      stolenRoot: this.#stolenRoot(),
      claimed: row['holds'] === 1 ? this.#takenAway.claimed() : [],
      heard,
    };
  }

  /** Looks only where a taint was ever handed back. */
  #stolenRoot(): string | undefined {
    return this.#sql.tainted.get() === undefined ? undefined : this.#takenAway.stolenRoot();
  }

  /** The CA's own certificate is issued all the same: agents hand back over TLS. Throws recovering. */
  ensureMayIssue(platform: string): void {
    const says = 'the CA was restored from a backup, and waits for what gateways know of the time after it';
    if (platform === 'self') return;
    const root = this.#stolenRoot();
    const stolen = `root ${root}, which signs, was tainted after the backup: taint it again`;
    ensure(root === undefined, 'recovering', stolen);
    ensure(this.#sql.holds.get() === undefined, 'recovering', says);
  }

  /** As `RecoveryStore.handBack`. */
  take(handed: HandedBack, writing: Writing): Merged | undefined {
    const held = this.current();
    if (held === undefined || handed.number >= held.start) return undefined;
    const { list, number } = handed;
    const isNewer = list !== undefined && number > held.merged;
    const merged = isNewer ? this.#merge(held, { ...handed, list }, writing) : NOTHING;
    this.#countEntries(held, handed, writing);
    if (handed.gateway !== undefined) this.#sql.hear.run(held.life, handed.gateway);
    this.#endHold(handed, writing);
    return merged.made.length + merged.lifted.length > 0 ? merged : undefined;
  }

  /** As `RecoveryStore.endHold`. */
  endByHand(reason: string, by: string, { tell }: Writing): boolean {
    if (this.#sql.end.run().changes === 0) return false;
    this.#takenAway.forgetClaims();
    tell({ type: 'ca.issuesAgain', reason, by });
    return true;
  }

  #merge(held: Held, handed: Newer, writing: Writing): Merged {
    const { by, number, list } = handed;
    const { at, numbers: taken, tell } = writing;
    const inForce = this.#sql.inForce.all(at);
    const [standing, before] = [new Set(list.map((each) => each.number)), Number(held.start)];
    const gone = inForce.filter((row) => Number(row['n']) < before && !standing.has(Number(row['n'])));
    const isHandedBack = (row: Row): boolean => Number(row['sequence']) > before;
    if (handed.isCertified) for (const each of list) this.#takenAway.forgetClaim(each.number);
    const claims = handed.isCertified ? [] : list.filter((each) => this.#isStanding(each));
    const isClaim = new Set<unknown>(claims);
    const isKnown = ({ number: n }: Revocation) =>
      this.#sql.known.get(n) !== undefined || this.#takenAway.isClaimed(n);
    const fresh = list.filter((each) => !isKnown(each) && !isClaim.has(each));
    const claimed = claims.filter((each) => !isKnown(each));
    // They come again, and are asked for, until a peer with a certificate brings them.
    if (claims.length > 0 && fresh.length + claimed.length === 0) return NOTHING;
    const tainted = fresh.flatMap(({ target }) => (target.kind === 'authority' ? [target.value] : []));
    const sequence = taken.next();
    const from = `${by}, who handed it back`;
    const made = fresh.map((each): MadeRevocation => ({ ...each, by: from, at: new Date(at) }));
    for (const each of made) this.#insert(each, sequence);
    for (const each of claimed) this.#takenAway.claim(each);
    this.#takeAlong(handed, at);
    for (const each of tainted)
      this.#takenAway.take(each, { ...writing, reason: 'handed back after a restore', by: from });
    const lifted =
      claims.length > 0 ? [] : gone.filter((row) => isHandedBack(row) && row['kind'] !== 'authority');
    for (const row of lifted) this.#sql.lift.run(from, at, sequence, Number(row['n']));
    const merged = claims.length > 0 ? held.merged : number;
    this.#sql.merged.run(merged, tainted.length > 0 ? 1 : 0, held.life);
    const numbers = (rows: readonly Row[]): readonly number[] => rows.map((row) => Number(row['n']));
    const kept = numbers(gone.filter((row) => !isHandedBack(row)));
    for (const { number: n, target, reason, until } of made)
      tell({
        type: 'revocation.made',
        number: n,
        target,
        reason,
        by: from,
        ...(until && { until: until.toISOString() }),
      });
    for (const row of lifted) tell({ type: 'revocation.lifted', ...targetOf(row), by: from });
    const counts = { made: made.length, lifted: lifted.length, kept: kept.slice(0, 100) };
    const named = [...tainted, ...claimed.map(({ target }) => target.value)];
    tell({ type: 'ca.handedBack', number, ...counts, tainted: named, by });
    return { made, lifted: numbers(lifted), kept, tainted };
  }

  /** Whether it names a root or an intermediate that was not taken away. */
  #isStanding({ target }: Revocation): boolean {
    return target.kind === 'authority' && this.#takenAway.standing(target.value) !== undefined;
  }

  #insert({ number, target, reason, by, at, until }: MadeRevocation, sequence: bigint): void {
    const end = until === undefined ? null : until.getTime();
    this.#sql.insert.run(number, target.kind, target.value, reason, by, at.getTime(), end, sequence);
  }

  /**
   * Certificates of a node or another certificate that are not on record, so nothing else leads to them. They are good
   * again when their revocation is lifted.
   */
  #takeAlong({ list, until }: Newer, at: number): void {
    this.#sql.forget.run(at);
    for (const { number, serials } of list)
      for (const serial of serials)
        if (this.#sql.serial.get(fromHex(serial)) === undefined)
          this.#sql.along.run(number, serial, until.getTime());
  }

  #countEntries(held: Held, { entries, by }: HandedBack, { tell }: Writing): void {
    const lost = entries - held.entries;
    if (lost <= held.lost) return;
    this.#sql.lost.run(lost, held.life);
    tell({ type: 'ca.entriesLost', entries: lost, size: entries, by });
  }

  #endHold({ awaited, by }: HandedBack, { tell }: Writing): void {
    const held = this.current();
    const isHeard = awaited.length > 0 && awaited.every((each) => held?.heard.includes(each));
    if (held?.holds !== true || !isHeard || held.stolenRoot !== undefined) return;
    if (held.claimed.length > 0) return;
    this.#sql.end.run();
    tell({ type: 'ca.issuesAgain', reason: 'every gateway has handed back what it has', by });
  }
}

type Newer = HandedBack & { readonly list: NonNullable<HandedBack['list']> };

/** For the event of a revocation that is lifted. */
function targetOf(row: Row) {
  const kind = String(row['kind']) as MadeRevocation['target']['kind'];
  return {
    number: Number(row['n']),
    target: { kind, value: String(row['value']) } as MadeRevocation['target'],
  };
}

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    current:
      sql(`SELECT r.*, l.sequence AS start, l.began_at AS since FROM recovery r JOIN lives l ON l.n = r.life
      ORDER BY r.life DESC LIMIT 1`),
    heard: sql('SELECT name FROM handed_back WHERE life = ? ORDER BY name'),
    hear: sql('INSERT OR IGNORE INTO handed_back VALUES (?, ?)'),
    holds: sql('SELECT 1 FROM recovery WHERE holds = 1'),
    end: sql('UPDATE recovery SET holds = 0 WHERE holds = 1'),
    tainted: sql('SELECT 1 FROM recovery WHERE tainted = 1'),
    merged: sql('UPDATE recovery SET merged = ?, tainted = max(tainted, ?) WHERE life = ?'),
    lost: sql('UPDATE recovery SET lost = ? WHERE life = ?'),
    inForce: sql('SELECT * FROM revocations WHERE lifted_at IS NULL AND (until IS NULL OR until > ?)'),
    known: sql('SELECT 1 FROM revocations WHERE n = ?'),
    insert: sql('INSERT INTO revocations VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?)'),
    along: sql('INSERT OR IGNORE INTO handed_serials VALUES (?, ?, ?)'),
    forget: sql('DELETE FROM handed_serials WHERE until <= ?'),
    lift: sql('UPDATE revocations SET lifted_by = ?, lifted_at = ?, sequence = ? WHERE n = ?'),
    serial: sql('SELECT 1 FROM certificates WHERE serial = ?'),
  };
}
