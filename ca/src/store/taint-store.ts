/** Authorities whose key is stolen, and the root that stands by for that night: part of the store. */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import type { MadeRevocation } from '@chancery/shared/revocation/revocation.ts';
import type { AuthorityMove } from './authority-record.ts';

/** A revocation that has no number yet. */
export type RevocationDraft = Pick<MadeRevocation, 'target' | 'reason' | 'by' | 'until'>;

export interface Taint {
  /** The serial of the authority. */
  readonly authority: string;
  /** Those that take it and all under it away, and make another one sign, where there is another. */
  readonly moves: readonly AuthorityMove[];
  /** The revocation of its key. */
  readonly draft: RevocationDraft;
}

/** As `ChangedRevocation`. */
export interface TaintedKey {
  readonly sequence: bigint;
  readonly revocation: MadeRevocation;
}

export interface TaintStore {
  /**
   * Marks the authority, makes the moves, and revokes its key, in one transaction with the audit entry. Only here does
   * a standby root become active. Writes nothing and resolves with undefined if `moveAuthorities` would, or if the
   * authority is tainted already. Throws store for moves that must not be made.
   */
  taintAuthority(taint: Taint, event: AuditEvent): Promise<TaintedKey | undefined>;
}
