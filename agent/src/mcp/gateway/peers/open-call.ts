/** A request that is open at the gateway, and what its going on is judged by. */
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';

export interface OpenCall {
  /** Of its record, and its tool, once it is decided. */
  recordId: string | undefined;
  tool: string | undefined;
  /** Why the gateway has ended its connection. */
  cut?: string;
}

/** Whether today's policy allows this caller the server, or a tool of it. */
export type Allows = (id: SpiffeId, tool: string | undefined) => boolean;

/** What a claim is judged by. */
export interface ClaimTerms {
  readonly allows: Allows;
  /** Called before the call goes on under the certificate of `next`. */
  readonly record: (next: VerifiedSvid, call: OpenCall) => void;
}
