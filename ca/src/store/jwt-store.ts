/** JWT signing keys: part of the store. Their moves are those of authority-states.ts. */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import type { KeyPlace } from '@chancery/shared/keys/home.ts';
import type { KeyAlgorithm } from '@chancery/shared/keys/key.ts';
import type { AuthorityMove, AuthorityState, Numbered, StoredAuthority } from './authority-record.ts';
import type { Taint, TaintedKey } from './taint-store.ts';

/** Signs tokens. It has no end of its own. */
export interface JwtKeyRecord {
  readonly kind: 'jwt';
  /** The `kid` (RFC 7517 section 4.5): hexadecimal, as serials are, and never that of another key. */
  readonly serial: string;
  readonly state: AuthorityState;
  readonly algorithm: KeyAlgorithm;
  readonly key: KeyPlace;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
}

/** As `StoredAuthority`. */
export interface StoredJwtKey extends JwtKeyRecord, Numbered {
  readonly movedAt: Date;
  readonly taintedAt?: Date | undefined;
}

/** What the bundle is made of, as it was at one moment: its number counts both kinds. */
export interface AllAuthorities {
  /** As `authorities()`. */
  readonly authorities: readonly StoredAuthority[];
  /** All JWT keys that there ever were, the first that was made first. */
  readonly jwtKeys: readonly StoredJwtKey[];
}

export interface JwtStore {
  /** Both in one read: a number that was read between two changes would be of neither state. */
  allAuthorities(): Promise<AllAuthorities>;
  /** Writes it with its audit entry. It is prepared, or active where none is; throws store for any other. */
  saveJwtKey(record: JwtKeyRecord, event: AuditEvent): Promise<Numbered>;
  /** As `moveAuthorities`, of JWT keys. */
  moveJwtKeys(moves: readonly AuthorityMove[], event: AuditEvent): Promise<Numbered | undefined>;
  /** As `taintAuthority`, of a JWT key. */
  taintJwtKey(taint: Taint, event: AuditEvent): Promise<TaintedKey | undefined>;
}
