/** What a restored CA has heard of the life before it: part of the store. */
import type { MadeRevocation, Revocation } from '@chancery/shared/revocation/revocation.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

/** Of the newest life. */
export interface Recovery {
  /** The first number of this life: states of lives before have smaller ones. */
  readonly start: number;
  /** When it began. */
  readonly since: Date;
  /**
   * Which numbers of lives before this database may not know: above `after`, the number of a backup, and below
   * `before`, with which the life began that was restored from it. In one gap may be several lives, and none has heard
   * of another: there the order of numbers is none of time.
   */
  readonly gaps: readonly Gap[];
  /** Digests of the states in them that were put in. */
  readonly seen: ReadonlySet<string>;
  /** Of the audit log, in the backup. */
  readonly entries: number;
  /** Entries that the audit log lost, as a checkpoint shows that was handed back. */
  readonly lost: number;
  /** Nothing is issued yet. */
  readonly holds: boolean;
  /** The root that signs, by its serial, if its key was handed back as stolen: nothing is issued before its taint. */
  readonly stolenRoot: string | undefined;
  /**
   * Serials of authorities that a peer without a certificate has handed back as stolen, while nothing is issued: they
   * are neither revoked nor taken away before a certified peer brings the same, or an operator taints them.
   */
  readonly claimed: readonly string[];
  /**
   * SPIFFE IDs of gateways that have handed back what they have. While nothing is issued, without those that are
   * revoked by now, as their SPIFFE ID or by the certificate that they showed.
   */
  readonly heard: readonly string[];
}

/** Neither of the two is in it. */
export interface Gap {
  readonly after: number;
  readonly before: number;
}

type Told = Pick<Recovery, 'gaps' | 'seen'>;

/** Whether a state is one that this database may not know. */
export function isNews(number: bigint | number, digest: string, { gaps, seen }: Told): boolean {
  return gaps.some(({ after, before }) => number > after && number < before) && !seen.has(digest);
}

/** What a peer has of the life before, verified by the log's key. */
export interface HandedBack {
  /** Of the revocations. */
  readonly number: number;
  /** Of the revocations as well, hexadecimal. */
  readonly digest: string;
  /** All that were in force then; undefined if they are not wanted. */
  readonly list: readonly Revocation[] | undefined;
  /** Entries of the log, by a checkpoint; 0 without one. */
  readonly entries: number;
  readonly by: string;
  /** Whether its certificate is good. */
  readonly isCertified: boolean;
  /** The gateway that hands it back, and the serial of its certificate. */
  readonly gateway: { readonly id: SpiffeId; readonly serial: string } | undefined;
  /** Gateways that must have handed back before anything is issued; none waits for an operator alone. */
  readonly awaited: readonly string[];
  /** No certificate that is not on record lives beyond this. */
  readonly until: Date;
}

/** What handing back has changed. */
export interface Merged {
  /** Put in force. Nothing is lifted by what is handed back: it may be of a life that never heard of it. */
  readonly made: readonly MadeRevocation[];
  /** In force here, and not in the newest state that was handed back: an operator may have lifted them. */
  readonly kept: readonly number[];
  /**
   * SHA-256 of keys of authorities that were tainted after the backup. They are taken away here, except a root that
   * signs: see `Recovery.stolenRoot`.
   */
  readonly tainted: readonly string[];
}

export interface RecoveryStore {
  /** Undefined for a CA that was never restored. */
  recovery(): Promise<Recovery | undefined>;
  /**
   * Puts in what is news, counts the gateway, and ends the hold if it was the
   * last that is waited for, all with their audit entries. An authority whose key is stolen goes in the same
   * transaction, whether or not another one can sign. Undefined if no revocation changes.
   */
  handBack(handed: HandedBack): Promise<Merged | undefined>;
  /** Ends the hold by hand, with its audit entry; false if there was none. */
  endHold(reason: string, by: string): Promise<boolean>;
}
