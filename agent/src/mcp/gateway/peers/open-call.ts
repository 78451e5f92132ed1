/** A request that is open at the gateway, and what decides whether it may continue. */
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';

export interface OpenCall {
  /** The id of its record, and its tool, once it is decided. */
  recordId: string | undefined;
  tool: string | undefined;
  /** Why the gateway ended its connection, if it did. */
  cut?: string;
}

/** Whether the current policy allows this caller the server, or a tool of it. */
export type Allows = (id: SpiffeId, tool: string | undefined) => boolean;

/** The terms by which a claim is judged. */
export interface ClaimTerms {
  readonly allows: Allows;
  /** Called before the call continues under the certificate of `next`. */
  readonly record: (next: VerifiedSvid, call: OpenCall) => void;
}
