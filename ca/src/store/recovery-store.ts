/** What a restored CA has heard of the life before it: part of the store. */
import type { MadeRevocation, Revocation } from '@chancery/shared/revocation/revocation.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

/** Of the newest life. */
export interface Recovery {
  /** The first number of this life: states of lives before have smaller ones. */
  readonly start: number;
  /** When it began. */
  readonly since: Date;
  /** The newest number that is known of lives before: of the backup, or of what was handed back since. */
  readonly merged: number;
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
  /** SPIFFE IDs of gateways that have handed back what they have. */
  readonly heard: readonly string[];
}

/** What a peer has of the life before, verified by the log's key. */
export interface HandedBack {
  /** Of the revocations. */
  readonly number: number;
  /** All that were in force then; undefined if they are not wanted. */
  readonly list: readonly Revocation[] | undefined;
  /** Entries of the log, by a checkpoint; 0 without one. */
  readonly entries: number;
  readonly by: string;
  /** Whether its certificate is good. */
  readonly isCertified: boolean;
  /** The gateway that hands it back. */
  readonly gateway: SpiffeId | undefined;
  /** Gateways that must have handed back before anything is issued; none waits for an operator alone. */
  readonly awaited: readonly string[];
  /** No certificate that is not on record lives beyond this. */
  readonly until: Date;
}

/** What handing back has changed. */
export interface Merged {
  /** Put in force, and taken out again since a newer state does not have them. */
  readonly made: readonly MadeRevocation[];
  readonly lifted: readonly number[];
  /** In force here and not in the newer state: an operator may have lifted them after the backup. */
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
   * Puts in what is newer than all that was handed back before, counts the gateway, and ends the hold if it was the
   * last that is waited for, all with their audit entries. An authority whose key is stolen goes in the same
   * transaction, whether or not another one can sign. Undefined if no revocation changes.
   */
  handBack(handed: HandedBack): Promise<Merged | undefined>;
  /** Ends the hold by hand, with its audit entry; false if there was none. */
  endHold(reason: string, by: string): Promise<boolean>;
}
