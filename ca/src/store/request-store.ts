/**
 * What roots are asked for whose keys are not here, and the lists of revocations that they have signed; and what CAs
 * above have certified of roots.
 */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import type { KeyPlace } from '@chancery/shared/keys/home.ts';
import type { Numbered, StoredCross } from './authority-record.ts';

/** An intermediate that a root is asked for: it waits for its answer; its key exists. */
export interface AskedIntermediate {
  /** Hexadecimal; what the key was called when it was made. */
  readonly label: string;
  /** Serial of the root that is asked. */
  readonly root: string;
  readonly key: KeyPlace;
  /** The file that is carried there. */
  readonly pem: string;
  readonly madeAt: Date;
}

/** The revocation list of a root. */
export interface RootCrl {
  /** Serial of the root. */
  readonly root: string;
  readonly number: bigint;
  readonly der: Uint8Array;
}

/** At most one request is open for each root. */
export interface AuthorityRequestStore {
  /** Those that are open, the first that was made first. */
  authorityRequests(): Promise<readonly AskedIntermediate[]>;
  /** Writes it with its audit entry; false, and nothing is written, if another one for its root is open. */
  askForAuthority(request: AskedIntermediate, event: AuditEvent): Promise<boolean>;
  /** Ends it without an answer, with its audit entry; false if it is not open. */
  dropAuthorityRequest(label: string, event: AuditEvent): Promise<boolean>;
  /** The newest of each root. */
  rootCrls(): Promise<readonly RootCrl[]>;
  /** Writes it with its audit entry; false, and nothing is written, unless its number is greater than before. */
  saveRootCrl(crl: RootCrl, event: AuditEvent): Promise<boolean>;
}

/** What a CA above has certified of a root. */
export interface CrossDraft extends Pick<StoredCross, 'chain'> {
  /** Serial of the root. */
  readonly root: string;
  /** The number of the one that it replaces; 0 where there is none. */
  readonly after: bigint;
}

export interface CrossStore {
  /**
   * Writes it with its audit entry; resolves with its number, which is that of a change of the bundle. Undefined, and
   * nothing is written, if the root has another one by now, or is retiring or removed.
   */
  saveCross(draft: CrossDraft, event: AuditEvent): Promise<Numbered | undefined>;
}
