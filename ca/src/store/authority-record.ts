/** What the store keeps of authorities: their kinds and states, the moves between the states, and their records. */
import type { KeyPlace } from '@chancery/shared/keys/home.ts';
import type { KeyAlgorithm } from '@chancery/shared/keys/key.ts';

/** What an authority signs: a root signs intermediates, an intermediate signs SVIDs. */
export type AuthorityKind = 'root' | 'intermediate';

/** A JWT key signs tokens. It has no certificate, and takes the same way through the states. */
export type MovedKind = AuthorityKind | 'jwt';

/** Which moves there are between them, and what each means, is in authority-states.ts. */
export type AuthorityState = 'prepared' | 'published' | 'active' | 'retiring' | 'removed';

/** One step of one authority. */
export interface AuthorityMove {
  /** Of a JWT key its `kid`. */
  readonly serial: string;
  readonly from: AuthorityState;
  readonly to: AuthorityState;
}

/** What an authority is besides its state. */
export interface AuthorityMarks {
  /**
   * Made as a standby root: it is in the bundle and signs nothing until the root that signs is tainted. Without a
   * meaning once it has become active.
   */
  readonly standby?: boolean | undefined;
  /** Since when its key counts as stolen; undefined for every other. */
  readonly taintedAt?: Date | undefined;
}

export interface AuthorityRecord extends AuthorityMarks {
  readonly serial: string;
  readonly kind: AuthorityKind;
  readonly state: AuthorityState;
  /** Of its own key; its certificate is signed by the algorithm of its issuer. */
  readonly algorithm: KeyAlgorithm;
  /** Where the key is, and what it is called there. */
  readonly key: KeyPlace;
  /** X.509 DER. */
  readonly certificate: Uint8Array;
  readonly notAfter: Date;
}

/** A number of the store: it grows with each change of bundle, registry or revocations, and orders their states. */
export interface Numbered {
  readonly sequence: bigint;
}

/** What a CA above has certified of a root, by which peers of that CA get to it (RFC 5280 section 3.2). */
export interface StoredCross extends Numbered {
  /** X.509 DER: the cross-certificate, then those above it, each the issuer of the one before. */
  readonly chain: readonly Uint8Array[];
}

/** Its number is that of the newest change of the bundle that it was part of, or 0. */
export interface StoredAuthority extends AuthorityRecord, Numbered {
  /** Of a root, also when it was removed: its peers do not know that. */
  readonly cross?: StoredCross | undefined;
  /** Of a root without one: by the log one was imported after the backup that the CA was restored from. */
  readonly crossLost?: bigint | undefined;
  /** When it came into its state, by the clock of then; 1970 for a move by an older release. */
  readonly movedAt: Date;
  /** Greater than that of all that were recorded before it, whenever their certificates were made. */
  readonly ordinal: number;
  /** Sequence of the newest audit event with a voucher for it, where there is one. */
  readonly publication: number | undefined;
}
