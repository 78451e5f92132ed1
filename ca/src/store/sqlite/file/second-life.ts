/**
 * Makes a copy of a database fit to begin another life: what agents have seen of the life before must not be newer than
 * what they are sent from now on. What the audit log says of the time after the copy is put in.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { entryText, isCut } from '@chancery/shared/audit/leaves.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isKeyAlgorithm } from '@chancery/shared/keys/key.ts';
import { AuthorityTable, MOVE_AUTHORITY, TAINT_AUTHORITY } from '../tables/authority-table.ts';
import { LogTable } from '../tables/log-table.ts';
import { fromHex, INSERT_ISSUANCE, insertIssuance, textOfEvent } from '../tables/rows.ts';
import { SpoolTable } from '../tables/spool-table.ts';
import { openDatabase, storeRefusal } from './open.ts';

/**
 * More changes than any CA makes between two backups. Numbers begin at the time in seconds where that is further: of
 * two restores of one backup the second begins above the first. All of them stay far below 2^53.
 */
const JUMP = 1_000_000;

/** An entry of the log, as the store keeps it. */
export interface LostEntry {
  readonly at: Date;
  /** JSON of an audit event. */
  readonly event: string;
}

export interface SecondLife {
  readonly now: Date;
  readonly backupAt: Date;
  /** What the log has after the last entry of the database, in its order. */
  readonly lost: readonly LostEntry[];
  readonly reason: string | undefined;
  readonly by: string;
  /** Entries of the log before this life, with those that were lost. */
  readonly entries: number;
  /** Nothing is issued before gateways have handed back what they know, or an operator says so. */
  readonly holds: boolean;
}

/** What the database has that its newest checkpoint does not cover. */
export interface LogEnd {
  /** The signed note of the newest checkpoint, and how many entries it covers. */
  readonly note: string | undefined;
  readonly size: number;
  /** The entries after those. */
  readonly entries: readonly string[];
}

/** Throws store. Blocks. */
export function logEndOf(path: string): LogEnd {
  return withDatabase(path, (db) => {
    const log = new LogTable(db);
    const newest = log.newest();
    const entries: string[] = [];
    for (let after = newest?.through ?? 0, more = true; more; ) {
      const page = log.leaves(after, 1000);
      entries.push(...page.entries);
      ({ through: after, more } = page);
    }
    return { note: newest?.note, size: newest?.size ?? 0, entries };
  });
}

/** In one transaction; returns the number of the life. Throws store. Blocks. */
export function beginLife(path: string, life: SecondLife): number {
  return withDatabase(path, (db) => {
    db.exec('BEGIN IMMEDIATE');
    const merged = Number(db.prepare('SELECT sequence FROM state').get()?.['sequence']);
    const sequence = jump(db, life.now);
    const n = Number(db.prepare('SELECT coalesce(max(n), 0) + 1 AS n FROM lives').get()?.['n']);
    const { now, backupAt, lost, reason, by, entries, holds } = life;
    db.prepare('INSERT INTO lives VALUES (?, ?, ?, ?)').run(n, now.getTime(), backupAt.getTime(), sequence);
    db.prepare('UPDATE recovery SET holds = 0').run();
    const recovery = db.prepare('INSERT INTO recovery VALUES (?, ?, ?, 0, 0, ?)');
    recovery.run(n, merged, entries, holds ? 1 : 0);
    const signed = rootThatSigns(db);
    putIn(db, lost, sequence);
    const says = 'by the log the root that signs is none of the backup';
    ensure(signed === undefined || rootThatSigns(db) !== undefined, 'store', `${says}: use a newer backup`);
    const about = { life: n, backup: backupAt.toISOString(), entries: lost.length };
    const event: AuditEvent = {
      type: 'ca.restored',
      ...about,
      ...(reason === undefined ? {} : { reason }),
      ...(holds && { holds: true as const }),
      by,
    };
    const audit = db.prepare('INSERT INTO audit (at, event, leaf) VALUES (?, ?, 1)');
    audit.run(now.getTime(), textOfEvent(event));
    db.exec('COMMIT; PRAGMA wal_checkpoint(TRUNCATE)');
    return n;
  });
}

function withDatabase<T>(path: string, run: (db: DatabaseSync) => T): T {
  const db = openDatabase(path);
  try {
    return run(db);
  } catch (error) {
    throw storeRefusal(error, path);
  } finally {
    db.close();
  }
}

/** Returns the number of the state after it, which is that of the bundle, the policy and the revocations. */
function jump(db: DatabaseSync, now: Date): number {
  const seconds = Math.floor(now.getTime() / 1000);
  db.prepare('UPDATE state SET sequence = max(sequence + ?, ?)').run(JUMP, seconds);
  const sequence = Number(db.prepare('SELECT sequence FROM state').get()?.['sequence']);
  db.prepare("UPDATE authorities SET sequence = ? WHERE kind = 'root' AND state = 'active'").run(sequence);
  // Agents compare versions of the policy, too.
  const newest = db.prepare('SELECT max(version) AS version FROM registry').get()?.['version'];
  if (newest === null || newest === undefined)
    db.prepare("INSERT INTO registry VALUES (?, '[]', ?, ?)").run(sequence, now.getTime(), sequence);
  else
    db.prepare('UPDATE registry SET version = ?, sequence = ? WHERE version = ?').run(
      Math.max(sequence, Number(newest) + JUMP),
      sequence,
      Number(newest),
    );
  return sequence;
}

type Event<Type extends AuditEvent['type']> = Extract<AuditEvent, { readonly type: Type }>;

/** The entries as they were, so that the tree of the log goes on, and what they say was done. */
function putIn(db: DatabaseSync, lost: readonly LostEntry[], sequence: number): void {
  const sql = statements(db);
  const spools = new SpoolTable(db);
  const standbys: Standbys = new Map();
  let issuer = issuerOf(db);
  for (const { at, event: text } of lost) {
    const { lastInsertRowid } = sql.audit.run(at.getTime(), text);
    // Written by the CA of before from this very type.
    const event = JSON.parse(text) as AuditEvent;
    if (isCut(event) && event.type !== 'call.recorded') {
      const says = `the log has an entry ${event.type} after the backup that was too long to say what it did`;
      ensure(!CHANGES.has(event.type), 'store', `${says}: use a newer backup`);
    } else if (event.type === 'authority.certified') {
      const says = 'a root was made after the backup, and its key is not in it';
      const isElsewhere = event.standby !== undefined;
      ensure(event.kind !== 'root' || isElsewhere, 'store', `${says}: use a newer backup`);
      if (isElsewhere) standbys.set(event.serial, event);
      else issuer = event.serial;
    } else if (event.type === 'authority.moved') {
      const moved = { event, at, sequence, publication: Number(lastInsertRowid) };
      standAgain(db, standbys, moved);
      moveAgain(db, sql, moved);
    } else if (event.type === 'svid.issuing') recordLost(sql, { event, at, issuer });
    else if (event.type === 'call.recorded' && 'spool' in event)
      spools.heard(at.getTime(), event, { through: event.number, last: '' });
    else if (event.type === 'authority.crossCertified') sql.crossLost.run(sequence, fromHex(event.root));
    else if (event.type === 'authority.tainted') taintAgain(sql, { event, at, sequence });
    else if (event.type === 'jwtKey.moved') moveJwtAgain(sql, { event, at, sequence });
    else if (event.type === 'jwtKey.tainted') {
      sql.taintJwt.run(at.getTime(), sequence, fromHex(event.serial));
      moveJwtAgain(sql, { event, at, sequence });
    } else if (event.type === 'revocation.made') revokeAgain(sql, { event, at, sequence });
    else if (event.type === 'revocation.lifted') sql.lift.run(event.by, at.getTime(), sequence, event.number);
  }
}

/** Without what they say, more would be trusted than before. A certificate without a record is refused. */
const CHANGES: ReadonlySet<string> = new Set<AuditEvent['type']>([
  'authority.certified',
  'authority.tainted',
  'jwtKey.tainted',
  'revocation.made',
  'revocation.lifted',
]);

type Sql = ReturnType<typeof statements>;

/** Standby roots that the database does not have, by their serial numbers. */
type Standbys = Map<string, Event<'authority.certified'>>;

interface Moved {
  readonly event: Event<'authority.moved'>;
  readonly at: Date;
  readonly sequence: number;
  /** The number of this event. */
  readonly publication: number;
}

/**
 * Puts a root that stands by on record where it came into the bundle: its certificate is in the word of the root that
 * vouches for it. One that did not come into it is known to nobody.
 */
function standAgain(db: DatabaseSync, standbys: Standbys, { event, at, sequence, publication }: Moved): void {
  const table = new AuthorityTable(db);
  const numbers = { current: () => BigInt(sequence - 1), next: () => BigInt(sequence) };
  for (const move of event.moves) {
    const made = standbys.get(move.serial);
    if (made?.standby === undefined || event.voucher === undefined) continue;
    const { algorithm, ...key } = made.standby;
    ensure(isKeyAlgorithm(algorithm), 'store', `the log has a root of the algorithm ${algorithm}`);
    const certificate = Buffer.from(event.voucher.certificate, 'base64').toString('hex');
    const about = { serial: made.serial, kind: 'root', notAfter: new Date(made.notAfter) } as const;
    const record = { ...about, state: 'prepared', standby: true, algorithm, key, certificate } as const;
    table.save(record, at.getTime(), numbers);
    const moves = [{ serial: made.serial, from: 'prepared', to: 'published' }] as const;
    table.move(moves, at.getTime(), numbers);
    table.vouched(moves, publication);
    standbys.delete(made.serial);
  }
}

/** Agents are as far as the log: a root that they had seen go must not sign. Those made since have no key here. */
function moveAgain(db: DatabaseSync, sql: Sql, { event, at, sequence, publication }: Moved): void {
  for (const { serial, to } of event.moves) sql.move.run(to, sequence, at.getTime(), fromHex(serial));
  if (event.voucher === undefined) return;
  const published = event.moves.filter(({ to }) => to === 'published' || to === 'active');
  const moves = published.map(({ serial }) => ({ serial, from: 'prepared', to: 'published' }) as const);
  new AuthorityTable(db).vouched(moves, publication);
}

/** Its key is not in the log: the record says which node has a certificate until when, under which SPIFFE ID. */
function recordLost(
  sql: Sql,
  { event, at, issuer }: { event: Event<'svid.issuing'>; at: Date; issuer: string },
): void {
  const { serial, id, platform, node, identity, notAfter, origin, succeeds } = event;
  const about = { serial, id, platform, node, identity, origin, succeeds };
  const times = { notBefore: at, notAfter: new Date(notAfter) };
  insertIssuance(sql.certificate, { ...about, ...times, keySha256: UNKNOWN_KEY, issuer }, at.getTime());
}
const UNKNOWN_KEY = '00'.repeat(32);

function revokeAgain(
  sql: Sql,
  { event, at, sequence }: { event: Event<'revocation.made'>; at: Date; sequence: number },
): void {
  const { number, target, reason, by, until } = event;
  const end = until === undefined ? null : new Date(until).getTime();
  sql.revoke.run(number, target.kind, target.value, reason, by, at.getTime(), end, sequence);
}

/** What was taken away stays away, and another root signs. Intermediates that were made since have no key here. */
function taintAgain(
  sql: Sql,
  { event, at, sequence }: { event: Event<'authority.tainted'>; at: Date; sequence: number },
): void {
  sql.taint.run(at.getTime(), sequence, fromHex(event.serial));
  for (const { serial, to } of event.moves) sql.move.run(to, sequence, at.getTime(), fromHex(serial));
}

/** If the key that signs after it is not in the backup, the CA makes another at its start. */
function moveJwtAgain(
  sql: Sql,
  { event, at, sequence }: { event: Event<'jwtKey.moved' | 'jwtKey.tainted'>; at: Date; sequence: number },
): void {
  for (const { serial, to } of event.moves) sql.moveJwt.run(to, sequence, at.getTime(), fromHex(serial));
}

const signing = (db: DatabaseSync, kind: 'root' | 'intermediate') =>
  new AuthorityTable(db).all().find((each) => each.kind === kind && each.state === 'active')?.serial;

const rootThatSigns = (db: DatabaseSync) => signing(db, 'root');
const issuerOf = (db: DatabaseSync) => signing(db, 'intermediate') ?? '';

function statements(db: DatabaseSync) {
  return {
    audit: db.prepare('INSERT INTO audit (at, event, leaf) VALUES (?, ?, 1)'),
    revoke: db.prepare('INSERT INTO revocations VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?)'),
    lift: db.prepare('UPDATE revocations SET lifted_by = ?, lifted_at = ?, sequence = ? WHERE n = ?'),
    certificate: db.prepare(INSERT_ISSUANCE),
    taint: db.prepare(TAINT_AUTHORITY),
    // The log has its digests alone.
    crossLost: db.prepare(
      'UPDATE authorities SET cross_sequence = ? WHERE serial = ? AND cross_chain IS NULL',
    ),
    taintJwt: db.prepare('UPDATE jwt_keys SET tainted_at = ?, sequence = ? WHERE serial = ?'),
    moveJwt: db.prepare('UPDATE jwt_keys SET state = ?, sequence = ?, moved_at = ? WHERE serial = ?'),
    move: db.prepare(MOVE_AUTHORITY),
  };
}

const PREFIX = /^\{"at":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)",/;

/** What the store keeps for an entry of the log. Throws store if that gives another entry. */
export function lostEntryOf(entry: string): LostEntry {
  const [prefix = '', time = ''] = PREFIX.exec(entry) ?? [];
  const kept = { at: new Date(time), event: `{${entry.slice(prefix.length)}` };
  ensure(
    prefix !== '' && entryText(kept.at, kept.event) === entry,
    'store',
    'the log has an entry that no CA wrote',
  );
  return kept;
}
