/**
 * What changes the database. Each is one transition: it checks first and writes then, within the transaction of its
 * batch, and throws a refusal before it has written anything.
 */
import { hash } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import type { Node } from '@chancery/shared/evidence/node.ts';
import { equal } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { MadeRevocation } from '@chancery/shared/revocation/revocation.ts';
import { KEPT_EXPIRED_MS } from '../kept.ts';
import type { LogCheckpoint, Pruned, Reported, Spool } from '../log-store.ts';
import type { HandedBack, Merged } from '../recovery-store.ts';
import type { AskedIntermediate } from '../request-store.ts';
import type {
  AuthorityMove,
  ChangedRevocation,
  Numbered,
  RegistryRecord,
  RevocationDraft,
  TokenName,
  Unused,
} from '../store.ts';
import type { Taint } from '../taint-store.ts';
import type { DerivedCertificates } from './holders/derived-certificates.ts';
import type { KeyHolders } from './holders/key-holders.ts';
import type { Undo } from './holders/undo.ts';
import { jwtWrites } from './jwt/jwt-writes.ts';
import { operatorWrites, type Released } from './operator-writes.ts';
import type { Tables } from './reads.ts';
import type { RootCrlRow } from './tables/asked-table.ts';
import type { CrossRow, Numbers } from './tables/authority-table.ts';
import {
  type AuthorityRow,
  fromHex,
  INSERT_ISSUANCE,
  type IssuanceRow,
  insertIssuance,
  textOfEvent,
} from './tables/rows.ts';
import type { Given } from './tables/spool-table.ts';

/** What the database knows in memory besides, changed and taken back with its transactions. */
export interface Memory {
  readonly keys: KeyHolders;
  readonly derived: DerivedCertificates;
  readonly undo: Undo;
}

/** An event that was not written when it came. */
export interface LateEvent {
  /** When it came, in milliseconds. */
  readonly at: number;
  readonly text: string;
  readonly leaf: boolean;
}

/** Beyond its end a token is kept for a day: where the clock was ahead, it is good again once that is set right. */
const TOKEN_KEPT_MS = 86_400_000;

const TAINTED_STAYS = 'this revocation is of the key of a tainted authority, which stays revoked';

/** Certificates in one transaction: tens of milliseconds. */
const MAX_PRUNED = 1000;

export type Writes = ReturnType<typeof writesOf>;

/** `at` is when each was asked for; times are milliseconds, events are JSON text. */
export function writesOf(db: DatabaseSync, tables: Tables, memory: Memory) {
  const { authorities, revocations } = tables;
  const { keys, derived, undo } = memory;
  const sql = statements(db);
  const numbers = { current: () => numberOf(sql.current.get()), next: () => numberOf(sql.next.get()) };
  const audit = (at: number, event: string, leaf = true): number =>
    Number(sql.audit.run(at, event, leaf ? 1 : 0).lastInsertRowid);
  return {
    append: (at: number, event: string, leaf: boolean): void => void audit(at, event, leaf),
    appendAll: (_: number, events: readonly LateEvent[]): void => {
      for (const { at, text, leaf } of events) audit(at, text, leaf);
    },
    ...logWrites(tables, audit),
    ...recoveryWrites(tables, numbers, audit),
    record: (at: number, issuance: IssuanceRow, event: string): void => {
      authorities.ensureKept(issuance.issuer);
      const { platform, node } = issuance;
      tables.recovery.ensureMayIssue(platform);
      keys.ensureFree({ key: fromHex(issuance.keySha256), platform, node, now: at });
      undo.add(derived.add(issuance, new Date(at)));
      insertIssuance(sql.certificate, issuance, at);
      audit(at, event);
    },
    prune: (at: number, before: number): number => {
      // The clock may have leapt ahead, and `before` does not go by it.
      sql.pruneTokens.run(Math.min(at, before + KEPT_EXPIRED_MS) - TOKEN_KEPT_MS);
      tables.spools.forgetSilent(before + KEPT_EXPIRED_MS);
      tables.reviews.keepUses(before, MAX_PRUNED);
      return Number(sql.prune.run(before, MAX_PRUNED).changes);
    },
    ...authorityWrites(tables, numbers, audit),
    ...crossWrites(tables, numbers, audit),
    ...jwtWrites(tables, { numbers, audit, eventOf: eventOfRevocation }),
    ...operatorWrites(tables, audit),
    saveRegistry: (at: number, { version, resources }: RegistryRecord, event: string): Numbered => {
      const last = Number(sql.registryVersion.get()?.['version'] ?? 0);
      ensure(version === last + 1, 'store', `registry is at version ${last}, not ${version - 1}`);
      const sequence = numbers.next();
      sql.saveRegistry.run(version, resources, at, sequence);
      audit(at, event);
      return { sequence };
    },
    ...nodeWrites(sql, audit),
    revoke: (at: number, draft: RevocationDraft, max: number): ChangedRevocation => {
      revocations.ensureRoom(new Date(at), max);
      const sequence = numbers.next();
      const revocation = revocations.insert(draft, new Date(at), sequence);
      audit(at, textOfEvent(eventOfRevocation(revocation)));
      return { revocation, sequence };
    },
    lift: (at: number, number: number, by: string): ChangedRevocation => {
      const revocation = revocations.standing(number, new Date(at));
      ensure(revocation.target.kind !== 'authority', 'revocation', TAINTED_STAYS);
      const [sequence, { target }] = [numbers.next(), revocation];
      revocations.lift({ number, by, at, sequence });
      audit(at, textOfEvent({ type: 'revocation.lifted', number, target, by }));
      return { revocation, sequence };
    },
  };
}

/** What a restored CA hears of the life before. */
function recoveryWrites({ recovery }: Tables, numbers: Numbers, audit: (at: number, event: string) => void) {
  const writing = (at: number) => ({
    ...{ at, numbers, tell: (event: AuditEvent) => audit(at, textOfEvent(event)) },
  });
  return {
    handBack: (at: number, handed: HandedBack): Merged | undefined => recovery.take(handed, writing(at)),
    endHold: (at: number, reason: string, by: string): boolean => recovery.endByHand(reason, by, writing(at)),
  };
}

/** What is remembered of machines and of their tokens. */
function nodeWrites(sql: ReturnType<typeof statements>, audit: (at: number, event: string) => void) {
  return {
    swapNodeState: (_: number, { platform, node }: Node, from: string | undefined, to: string): boolean =>
      (from === undefined ? sql.newNode.run(platform, node, to) : sql.swapNode.run(to, platform, node, from))
        .changes === 1,
    releaseNode: (at: number, node: Node, from: string, { reason, by }: Released): boolean => {
      if (sql.dropNode.run(node.platform, node.node, from).changes !== 1) return false;
      audit(
        at,
        textOfEvent({ type: 'node.released', ...node, was: hash('sha256', from, 'hex'), reason, by }),
      );
      return true;
    },
    bind: (_: number, { platform, id }: TokenName, keySha256: string, until: number): void => {
      const [key, bound] = [fromHex(keySha256), sql.token.get(platform, id)?.['key_sha256']];
      const same = bound === undefined || (bound instanceof Uint8Array && equal(bound, key));
      ensure(same, 'jti_replay', `token ${id} of ${platform} was used with another key`);
      sql.saveToken.run(platform, id, key, until);
    },
  };
}

function logWrites({ log, index, prune, spools }: Tables, audit: (at: number, event: string) => void) {
  return {
    saveCheckpoint: (at: number, from: number, checkpoint: LogCheckpoint): boolean =>
      log.save(at, from, checkpoint),
    announcePruning: (at: number, from: number, to: Pruned, event: string): boolean => {
      if (prune.state().entries !== from) return false;
      audit(at, event);
      prune.announce(to);
      return true;
    },
    pruneEvents: (_: number, limit: number): boolean => prune.prune(limit),
    indexEvents: (_: number, limit: number): boolean => index.fill(limit),
    report: (at: number, spool: Spool, oldest: number, given: Given): Reported => {
      for (const event of spools.take(at, spool, oldest, given)) audit(at, textOfEvent(event));
      return spools.through(spool);
    },
  };
}

function authorityWrites(
  { authorities, asked, pages, revocations }: Tables,
  numbers: Numbers,
  audit: (at: number, event: string) => number,
) {
  return {
    saveAuthority: (at: number, record: AuthorityRow, event: string): Numbered => {
      const saved = authorities.save(record, at, numbers);
      audit(at, event);
      return saved;
    },
    askForAuthority: (at: number, request: AskedIntermediate, event: string): boolean => {
      const added = asked.add(request);
      if (added) audit(at, event);
      return added;
    },
    saveRootCrl: (at: number, crl: RootCrlRow, event: string): boolean => {
      const saved = asked.saveCrl(crl);
      if (saved) audit(at, event);
      return saved;
    },
    dropAuthorityRequest: (at: number, label: string, event: string): boolean => {
      const ended = asked.end(label);
      if (ended) audit(at, event);
      return ended;
    },
    answerAuthorityRequest: (
      at: number,
      label: string,
      record: AuthorityRow,
      event: string,
    ): Numbered | undefined => {
      if (!asked.end(label)) return undefined;
      const saved = authorities.save(record, at, numbers);
      audit(at, event);
      return saved;
    },
    moveAuthorities: (
      at: number,
      moves: readonly AuthorityMove[],
      event: string,
      { vouches, unused }: { readonly vouches: boolean; readonly unused: Unused | undefined },
    ): Numbered | undefined => {
      if (unused !== undefined && pages.isUsed(unused)) return undefined;
      const moved = authorities.move(moves, at, numbers);
      if (moved === undefined) return undefined;
      const entry = audit(at, event);
      if (vouches) authorities.vouched(moves, entry);
      return moved;
    },
    taintAuthority: (
      at: number,
      { draft, ...taint }: Taint,
      event: string,
    ): ChangedRevocation | undefined => {
      if (!authorities.taint(taint, at, numbers)) return undefined;
      const sequence = numbers.next();
      const revocation = revocations.insert(draft, new Date(at), sequence);
      audit(at, event);
      audit(at, textOfEvent(eventOfRevocation(revocation)));
      return { revocation, sequence };
    },
  };
}

function crossWrites({ authorities }: Tables, numbers: Numbers, audit: (at: number, event: string) => void) {
  return {
    saveCross: (at: number, cross: CrossRow, event: string): Numbered | undefined => {
      const saved = authorities.saveCross(cross, numbers);
      if (saved !== undefined) audit(at, event);
      return saved;
    },
  };
}

const numberOf = (row: Readonly<Record<string, unknown>> | undefined): bigint =>
  BigInt(Number(row?.['sequence']));

const eventOfRevocation = ({ number, target, reason, until, by }: MadeRevocation): AuditEvent => ({
  type: 'revocation.made',
  number,
  target,
  reason,
  ...(until === undefined ? {} : { until: until.toISOString() }),
  by,
});

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    certificate: sql(INSERT_ISSUANCE),
    current: sql('SELECT sequence FROM state'),
    next: sql('UPDATE state SET sequence = sequence + 1 RETURNING sequence'),
    audit: sql('INSERT INTO audit (at, event, leaf) VALUES (?, ?, ?)'),
    prune: sql(`DELETE FROM certificates WHERE n IN
      (SELECT n FROM certificates WHERE not_after < ? ORDER BY not_after LIMIT ?)`),
    registryVersion: sql('SELECT version FROM registry ORDER BY version DESC LIMIT 1'),
    saveRegistry: sql('INSERT INTO registry VALUES (?, ?, ?, ?)'),
    token: sql('SELECT key_sha256 FROM tokens WHERE platform = ? AND id = ?'),
    saveToken: sql('INSERT OR REPLACE INTO tokens VALUES (?, ?, ?, ?)'),
    pruneTokens: sql('DELETE FROM tokens WHERE until < ?'),
    newNode: sql('INSERT INTO nodes VALUES (?, ?, ?) ON CONFLICT DO NOTHING'),
    dropNode: sql('DELETE FROM nodes WHERE platform = ? AND node = ? AND state = ?'),
    swapNode: sql('UPDATE nodes SET state = ? WHERE platform = ? AND node = ? AND state = ?'),
  };
}
