/** What the gateway itself knows of a caller, for every decision about it. */
import type { Call, Who } from '@chancery/shared/policy/call.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';

export type Whose = Pick<Call, 'caller' | 'scope' | 'certifiedAt' | 'attested' | 'source'>;

/** By the caller's certificate, and the IP address at its end of the connection. Nothing of it comes from a message. */
export const whoseOf = (
  { certificate, ...peer }: VerifiedSvid,
  { source }: { readonly source: string | undefined },
): Whose => ({
  ...whoOf(peer),
  certifiedAt: certificate.notBefore,
  attested: peer.attested,
  source,
});

/** The caller, with the grant that its certificate has. */
export const whoOf = ({ id: caller, attested: { scope } }: Pick<VerifiedSvid, 'id' | 'attested'>): Who => ({
  caller,
  scope,
});

/** The caller of an open call by today's certificate. A claim changes it, so nothing keeps it across a wait. */
export const holderOf = (peer: VerifiedSvid, { holder }: { readonly holder?: VerifiedSvid }): VerifiedSvid =>
  holder ?? peer;
