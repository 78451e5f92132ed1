/** A request that is open at the gateway, and what decides whether it may continue. */

import type { What } from '@chancery/shared/policy/call.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';

export interface OpenCall {
  /** The McpServer that its path names; undefined until that is read, and for claims. */
  server: string | undefined;
  /** The id of its record, and what it asked for by name, once it is decided. */
  recordId: string | undefined;
  what: What | undefined;
  /** Its session, as the client knows it. */
  session: string | undefined;
  /** The IP address at the caller's end of its connection. */
  readonly source: string | undefined;
  /** The caller by the certificate that the call continues under, once it has been claimed. */
  holder?: VerifiedSvid;
  /** Called after each claim, when `holder` has changed. */
  onClaimed?: () => void;
  /** Why the gateway ended its connection, if it did. */
  cut?: string;
}

/** Whether the current policy allows this caller its open call, or any server here where no call is given. */
export type Allows = (caller: VerifiedSvid, call: OpenCall | undefined) => boolean;

/** The terms by which a claim is judged. */
export interface ClaimTerms {
  readonly allows: Allows;
  /** Called before the call continues under the certificate of `next`. */
  readonly record: (next: VerifiedSvid, call: OpenCall) => void;
}
