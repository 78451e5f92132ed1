/**
 * What the CA must not forget, with one interface for each role. SQLite keeps it for one process; PostgreSQL will keep
 * it for several, behind the same interfaces. So each change of state is one method, which checks and writes in one
 * transaction: between two methods another writer may come. Every method throws store if the store does not answer.
 */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import type { Node } from '@chancery/shared/evidence/node.ts';
import type { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { MadeRevocation, Target } from '@chancery/shared/revocation/revocation.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { AuthorityMove, AuthorityRecord, Numbered, StoredAuthority } from './authority-record.ts';
import type { JwtStore } from './jwt-store.ts';
import type { LogStore, ReportStore, StoredEvent } from './log-store.ts';
import type { OperatorStore } from './operator-store.ts';
import type { RecoveryStore } from './recovery-store.ts';
import type { AuthorityRequestStore, CrossStore } from './request-store.ts';
import type { RevocationDraft, TaintStore } from './taint-store.ts';

export type {
  AuthorityKind,
  AuthorityMove,
  AuthorityRecord,
  AuthorityState,
  Numbered,
  StoredAuthority,
} from './authority-record.ts';
export type { JwtKeyRecord, StoredJwtKey } from './jwt-store.ts';
export type { RevocationDraft } from './taint-store.ts';

/** A certificate, recorded before it is signed. */
export interface Issuance extends Node {
  /** Hexadecimal, as X.509 tools print it. */
  readonly serial: string;
  readonly id: SpiffeId;
  /** The `kind: Identity` that gave the SPIFFE ID. */
  readonly identity: string;
  /** SHA-256 of the subject's SubjectPublicKeyInfo. */
  readonly keySha256: Uint8Array;
  /** Serial of the authority that signs. */
  readonly issuer: string;
  /** Serial of the attested certificate that it came of, which is revoked with all that came of it. */
  readonly origin?: string | undefined;
  /** Serial of the certificate that it replaces, of the same SPIFFE ID and node. */
  readonly succeeds?: string | undefined;
  /** The number of the bundle that its holder gets with it, or of an older one; not set where that is not known. */
  readonly bundle?: bigint | undefined;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface RecordedIssuance extends Issuance {
  readonly recordedAt: Date;
}

/** A condition of moves. */
export interface Unused {
  /** Under these authorities no unexpired certificate may be on record, except those of one platform. */
  readonly issuers: readonly string[];
  readonly exceptPlatform: string;
  readonly now: Date;
}

export interface RegistryRecord {
  readonly version: number;
  /** The resources in force, as one JSON array. */
  readonly resources: string;
}

export interface StoredRegistry extends RegistryRecord, Numbered {}

/** A token that a platform signed: the attestor, and the token's own identifier there. */
export interface TokenName {
  readonly platform: string;
  readonly id: string;
}

/** The sequence is that of the last one that was made or lifted; 0 where none ever was. */
export interface StoredRevocations extends Numbered {
  readonly list: readonly MadeRevocation[];
}

/** One that was made or lifted. */
export interface ChangedRevocation extends Numbered {
  readonly revocation: MadeRevocation;
}

/** An unexpired certificate, as needed to find what a revocation matches or what a change of the resources takes. */
export interface UnexpiredCertificate extends Pick<Issuance, 'serial' | 'origin' | 'id' | 'issuer'> {
  /** The `kind: Identity` that gave the SPIFFE ID. */
  readonly identity: string;
  readonly node: Node;
}

/** Where a page ends: the end of its last certificate, in milliseconds, and the number of its record. */
export interface UnexpiredPlace {
  readonly notAfter: number;
  readonly n: number;
}

export interface UnexpiredQuery {
  /** The same for all pages. */
  readonly now: Date;
  readonly target: Target;
  /** `next` of the page before; undefined for the first page. */
  readonly after?: UnexpiredPlace | undefined;
}

export interface UnexpiredPage {
  /** At most 1000. It may be empty, and more may come. */
  readonly list: readonly UnexpiredCertificate[];
  /** Undefined for the last page. */
  readonly next: UnexpiredPlace | undefined;
}

/** Unexpired certificates of one SPIFFE ID on one node, under one authority. */
export interface Holding {
  readonly id: SpiffeId;
  readonly node: Node;
  readonly count: number;
  /** When the last of them ends. */
  readonly until: Date;
}

export interface HoldingsQuery extends Pick<UnexpiredQuery, 'now' | 'after'> {
  /** Serial of the authority that signed them. */
  readonly issuer: string;
  /** Only certificates that came with a bundle of a smaller number. */
  readonly bundleBelow?: bigint | undefined;
}

export interface HoldingsPage {
  /** Of at most 10000 certificates, those that end last first; one holder may be in several pages. */
  readonly list: readonly Holding[];
  /** Undefined for the last page. */
  readonly next: UnexpiredPlace | undefined;
}

/** One certificate replaced another of the same SPIFFE ID and node. */
export interface Succession {
  /** Serials, hexadecimal. */
  readonly old: string;
  readonly next: string;
  /** The end of the old one: from then on nothing can be taken over from it. */
  readonly until: Date;
  readonly node: Node;
}

export interface CertificateStore {
  /**
   * Writes the record and its audit entry in one transaction; resolves when both are durable. Throws csr_key if
   * another node holds the key; rate if the node has too many guests; authority_unfit if the issuer was removed.
   */
  record(issuance: Issuance, event: AuditEvent): Promise<void>;
  /** By serial number, lower-case hex; undefined if there is no record. */
  issuance(serial: string): Promise<RecordedIssuance | undefined>;
  /** Those whose serial begins with these hexadecimal digits, ascending: at most 1000. */
  issuedFrom(prefix: string): Promise<readonly RecordedIssuance[]>;
  /** Newest first. */
  issued(query: { readonly id?: SpiffeId; readonly limit: number }): Promise<readonly RecordedIssuance[]>;
  /**
   * Forgets certificates that expired before `time`, never others, and tokens past their end; returns how many
   * certificates. At most 1000 at once, so that other writes come in between: call it until it returns 0.
   */
  prune(time: Date): Promise<number>;
}

/** What agents hold now. */
export interface AgentStore {
  /** Unexpired certificates that the target could match, and perhaps others: a page, the last to end first. */
  certified(query: UnexpiredQuery): Promise<UnexpiredPage>;
  /** Unexpired certificates under one authority by their holders: a page. */
  holdings(query: HoldingsQuery): Promise<HoldingsPage>;
  /** Those whose old certificate has not expired: the newest, at most `limit`, oldest first. */
  successions(limit: number): Promise<readonly Succession[]>;
}

export interface AuthorityStore extends AuthorityRequestStore {
  /**
   * Ends the request and writes the authority, prepared, in one transaction with the audit entry; undefined, and
   * nothing is written, if it is not open. Throws store.
   */
  answerAuthorityRequest(
    label: string,
    record: AuthorityRecord,
    event: AuditEvent,
  ): Promise<Numbered | undefined>;
  /** How often this CA was restored from a backup. It tells the serial numbers of each life apart. */
  life(): Promise<number>;
  /** All that there ever were, in one order for every reader: the first to end first. */
  authorities(): Promise<readonly StoredAuthority[]>;
  /**
   * Writes a new authority with its audit entry; resolves with its number. It is prepared, or it is the first of all, a
   * root that is active. Throws store for any other, so of two first roots one is refused.
   */
  saveAuthority(record: AuthorityRecord, event: AuditEvent): Promise<Numbered>;
  /**
   * Makes all of these moves in their order, with their audit entry: the number of the state after them. Writes nothing
   * and resolves with undefined if an authority is not in the state `from`, another of its kind became active, or
   * `unused` does not hold. Throws store for moves that must not be made.
   */
  moveAuthorities(
    moves: readonly AuthorityMove[],
    event: AuditEvent,
    unused?: Unused,
  ): Promise<Numbered | undefined>;
}

export interface RegistryStore {
  /** The newest set of resources; undefined before the first. */
  registry(): Promise<StoredRegistry | undefined>;
  /** Refuses (store) unless `record.version` is the stored version plus one. */
  saveRegistry(record: RegistryRecord, event: AuditEvent): Promise<Numbered>;
}

export interface RevocationStore {
  /** Those in force now, by their numbers. */
  revocations(): Promise<StoredRevocations>;
  /**
   * Writes it under the next number, with its audit entry. Certificates whose recording was asked for before are among
   * its serials. Throws revocation if `max` are in force already.
   */
  revoke(draft: RevocationDraft, max: number): Promise<ChangedRevocation>;
  /** With its audit entry. Throws revocation if none of this number is in force. */
  lift(number: number, by: string): Promise<ChangedRevocation>;
}

/** What is remembered of nodes between their attestations. */
export interface NodeStore {
  /** Undefined if nothing is remembered of the node. */
  nodeState(node: Node): Promise<string | undefined>;
  /** Writes `to` where the stored state is `from`, and nothing where it is another one by now: then false. */
  swapNodeState(node: Node, from: string | undefined, to: string): Promise<boolean>;
}

export interface TokenStore {
  /** Remembers until `until` that a token came with this key. Throws jti_replay if it came with another. */
  bind(token: TokenName, keySha256: Uint8Array, until: Date): Promise<void>;
}

/** Where audit events go in. */
export interface AuditIntake {
  /** Resolves when the event is durable. */
  append(event: AuditEvent): Promise<void>;
  /** Written within a second and at the close, for what says how something on record ended; nobody waits for it. */
  appendSoon(event: AuditEvent): void;
  /** `tell` is called with each failed write of late events: why it failed, and how many events are lost. */
  onEventsLost(tell: (error: unknown, events: number) => void): void;
  /** Events with a number above `after`, ascending: at most `limit`. */
  events(after: number, limit: number): Promise<readonly StoredEvent[]>;
  /** When the newest record was written, by the clock of then; undefined if there is none. */
  newestRecordAt(): Promise<Date | undefined>;
}

/** A file that can be copied while it is in use: only a store can be that is a file of this machine. */
export interface FileStore {
  /** Writes a copy to `path`, with all that was durable before; the store is used meanwhile. One at a time. */
  copyTo(path: string): Promise<void>;
}

/** Changes of authorities, registry and revocations are made and answered one by one, in the order of their numbers. */
export interface Store
  extends CertificateStore,
    AgentStore,
    AuthorityStore,
    JwtStore,
    CrossStore,
    TaintStore,
    RegistryStore,
    RevocationStore,
    NodeStore,
    TokenStore,
    AuditIntake,
    LogStore,
    ReportStore,
    OperatorStore,
    RecoveryStore,
    FileStore {
  /** Resolves where nothing can be recorded any more in this process, and says why; never for a close. */
  readonly lost: Promise<IdentityError>;
  /** For how many seconds the call that has waited longest has had no answer; 0 where none waits. Wall clocks aside. */
  waitedSeconds(): number;
  /** Looks now. Throws store if nothing more can be recorded: the files of the database were replaced or removed. */
  ensureOwnFiles(): void;
  /** Writes what waits, then refuses everything. */
  close(): Promise<void>;
}
