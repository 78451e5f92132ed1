/** The table of what a restored CA has heard of the life before: part of the SQLite store. */
import type { DatabaseSync } from 'node:sqlite';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { MadeRevocation, Revocation } from '@chancery/shared/revocation/revocation.ts';
import { revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { type HandedBack, isNews, type Merged, type Recovery } from '../recovery-store.ts';
import type { Numbers } from './tables/authority-table.ts';
import type { RevocationTable } from './tables/revocation-table.ts';
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

const NOTHING: Merged = { made: [], kept: [], tainted: [] };

/** Prepares its statements once; every method blocks, and the caller holds the transaction. */
export class RecoveryTable {
  readonly #sql: ReturnType<typeof statements>;
  readonly #takenAway: TakenAway;
  readonly #revocations: RevocationTable;

  constructor(db: DatabaseSync, revocations: RevocationTable) {
    this.#revocations = revocations;
    this.#sql = statements(db);
    this.#takenAway = new TakenAway(db);
  }

  /** Of the newest life; undefined for a CA that was never restored. */
  current(at: number): Held | undefined {
    const row = this.#sql.current.get();
    if (row === undefined) return undefined;
    const number = (name: string): number => Number(row[name]);
    const [life, start, entries, lost] = ['life', 'start', 'entries', 'lost'].map(number);
    const gap = (each: Row) => ({ after: Number(each['after']), before: Number(each['before']) });
    return {
      ...{ life: life ?? 0, start: start ?? 0, entries: entries ?? 0, lost: lost ?? 0 },
      gaps: this.#sql.gaps.all().map(gap),
      seen: new Set(this.#sql.seen.all().map((each) => String(each['digest']))),
      holds: row['holds'] === 1,
      since: new Date(Number(row['since'])),
      stolenRoot: this.#stolenRoot(),
      claimed: row['holds'] === 1 ? this.#takenAway.claimed() : [],
      heard: this.#heard(row, new Date(at)),
    };
  }

  /** Who is revoked may say what it likes, and ends no wait. */
  #heard({ life, holds }: Row, now: Date): readonly string[] {
    const all = this.#sql.heard.all(Number(life));
    const set =
      holds === 1 && all.length > 0 ? revocationSet(this.#revocations.inForce(now).list, 0n) : undefined;
    return all.flatMap((each) => {
      const name = String(each['name']);
      const peer = { id: parseSpiffeId(name), serial: String(each['serial']) };
      return set?.revoked(peer, now) === undefined ? [name] : [];
    });
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
    const held = this.current(writing.at);
    if (held === undefined || handed.number >= held.start) return undefined;
    const { list, number, digest, gateway } = handed;
    const isWanted = list !== undefined && isNews(number, digest, held);
    const merged = isWanted ? this.#merge(held, { ...handed, list }, writing) : NOTHING;
    this.#countEntries(held, handed, writing);
    if (gateway !== undefined) this.#sql.hear.run(held.life, gateway.id, gateway.serial);
    this.#endHold(handed, writing);
    return merged.made.length + merged.kept.length > 0 ? merged : undefined;
  }

  /** As `RecoveryStore.endHold`. */
  endByHand(reason: string, by: string, { tell }: Writing): boolean {
    if (this.#sql.end.run().changes === 0) return false;
    this.#takenAway.forgetClaims();
    tell({ type: 'ca.issuesAgain', reason, by });
    return true;
  }

  #merge(held: Held, handed: Newer, writing: Writing): Merged {
    const { by, number, digest, list } = handed;
    const { at, numbers: taken, tell } = writing;
    const inForce = this.#sql.inForce.all(at);
    const [standing, before] = [new Set(list.map((each) => each.number)), Number(held.start)];
    const gone = inForce.filter((row) => Number(row['n']) < before && !standing.has(Number(row['n'])));
    if (handed.isCertified) for (const each of list) this.#takenAway.forgetClaim(each.number);
    const claims = handed.isCertified ? [] : list.filter((each) => this.#isStanding(each));
    const isClaim = new Set<unknown>(claims);
    const isKnown = ({ number: n }: Revocation) =>
      this.#sql.known.get(n) !== undefined || this.#takenAway.isClaimed(n);
    const fresh = list.filter((each) => !isKnown(each) && !isClaim.has(each));
    const claimed = claims.filter((each) => !isKnown(each));
    // They come again, and are asked for, until a peer with a certificate brings them.
    if (claims.length > 0 && fresh.length + claimed.length === 0) return NOTHING;
    // Of an older state nobody knows what was lifted after it; of another life, it may not have heard of it.
    const isNewest = number > Number(this.#sql.newest.get()?.['number'] ?? 0);
    const kept = isNewest ? gone.map((row) => Number(row['n'])) : fresh.map((each) => each.number);
    const tainted = fresh.flatMap(({ target }) => (target.kind === 'authority' ? [target.value] : []));
    const sequence = taken.next();
    const from = `${by}, who handed it back`;
    const made = fresh.map((each): MadeRevocation => ({ ...each, by: from, at: new Date(at) }));
    for (const each of made) this.#insert(each, sequence);
    for (const each of claimed) this.#takenAway.claim(each);
    this.#takeAlong(handed, at);
    for (const each of tainted)
      this.#takenAway.take(each, { ...writing, reason: 'handed back after a restore', by: from });
    if (claims.length === 0) this.#sql.see.run(digest, number);
    if (tainted.length > 0) this.#sql.taint.run(held.life);
    for (const { number: n, target, reason, until } of made)
      tell({
        type: 'revocation.made',
        number: n,
        target,
        reason,
        by: from,
        ...(until && { until: until.toISOString() }),
      });
    const counts = { made: made.length, kept: kept.slice(0, 100) };
    const named = [...tainted, ...claimed.map(({ target }) => target.value)];
    tell({ type: 'ca.handedBack', number, ...counts, tainted: named, by });
    return { made, kept, tainted };
  }

  /** Whether it names a root, an intermediate or a JWT key in the bundle that was not taken away. */
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

  #endHold({ awaited, by }: HandedBack, { at, tell }: Writing): void {
    const held = this.current(at);
    const isHeard = awaited.length > 0 && awaited.every((each) => held?.heard.includes(each));
    if (held?.holds !== true || !isHeard || held.stolenRoot !== undefined) return;
    if (held.claimed.length > 0) return;
    this.#sql.end.run();
    tell({ type: 'ca.issuesAgain', reason: 'every gateway has handed back what it has', by });
  }
}

type Newer = HandedBack & { readonly list: NonNullable<HandedBack['list']> };

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    current:
      sql(`SELECT r.*, l.sequence AS start, l.began_at AS since FROM recovery r JOIN lives l ON l.n = r.life
      ORDER BY r.life DESC LIMIT 1`),
    heard: sql('SELECT name, serial FROM handed_back WHERE life = ? ORDER BY name'),
    hear: sql('INSERT OR REPLACE INTO handed_back VALUES (?, ?, ?)'),
    holds: sql('SELECT 1 FROM recovery WHERE holds = 1'),
    end: sql('UPDATE recovery SET holds = 0 WHERE holds = 1'),
    tainted: sql('SELECT 1 FROM recovery WHERE tainted = 1'),
    taint: sql('UPDATE recovery SET tainted = 1 WHERE life = ?'),
    gaps: sql(`SELECT r.merged AS after, l.sequence AS before FROM recovery r JOIN lives l ON l.n = r.life`),
    seen: sql('SELECT digest FROM handed_states'),
    see: sql('INSERT OR IGNORE INTO handed_states VALUES (?, ?)'),
    newest: sql('SELECT max(number) AS number FROM handed_states'),
    lost: sql('UPDATE recovery SET lost = ? WHERE life = ?'),
    inForce: sql('SELECT * FROM revocations WHERE lifted_at IS NULL AND (until IS NULL OR until > ?)'),
    known: sql('SELECT 1 FROM revocations WHERE n = ?'),
    insert: sql('INSERT INTO revocations VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?)'),
    along: sql('INSERT OR IGNORE INTO handed_serials VALUES (?, ?, ?)'),
    forget: sql('DELETE FROM handed_serials WHERE until <= ?'),
    serial: sql('SELECT 1 FROM certificates WHERE serial = ?'),
  };
}
