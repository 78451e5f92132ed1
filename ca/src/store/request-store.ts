/** Requests for intermediates that a root must sign whose key is not here. */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import type { KeyPlace } from '@chancery/shared/keys/home.ts';

/** It waits for its answer; its key exists. */
export interface AuthorityRequest {
  /** Hexadecimal; what the key was called when it was made. */
  readonly label: string;
  /** Serial of the root that is asked. */
  readonly root: string;
  readonly key: KeyPlace;
  /** The file that is carried there. */
  readonly pem: string;
  readonly madeAt: Date;
}

/** At most one is open. */
export interface AuthorityRequestStore {
  /** The open one; undefined if there is none. */
  authorityRequest(): Promise<AuthorityRequest | undefined>;
  /** Writes it with its audit entry; false, and nothing is written, if another one is open. */
  askForAuthority(request: AuthorityRequest, event: AuditEvent): Promise<boolean>;
  /** Ends it without an answer, with its audit entry; false if it is not the open one. */
  dropAuthorityRequest(label: string, event: AuditEvent): Promise<boolean>;
}
