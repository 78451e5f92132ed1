/** What the gateway itself knows of a caller, for every decision about it. */
import type { Call } from '@chancery/shared/policy/call.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';

export type Whose = Pick<Call, 'caller' | 'certifiedAt' | 'attested' | 'source'>;

/** By the caller's certificate, and the IP address at its end of the connection. Nothing of it comes from a message. */
export const whoseOf = (
  { id: caller, certificate, attested }: VerifiedSvid,
  { source }: { readonly source: string | undefined },
): Whose => ({ caller, certifiedAt: certificate.notBefore, attested, source });
