/** The peer of a TLS connection: an X.509-SVID of the bundle's trust domain, or a refusal. */
import type { TLSSocket } from 'node:tls';
import { ensure } from '../ground/errors.ts';
import type { Bundle } from '../spiffe/bundle.ts';
import { type VerifiedSvid, verifySvid } from '../x509/verify/svid.ts';

/** More than `verifySvid` accepts, so that a longer chain is refused and not cut. */
const READ_AT_MOST = 17;

/**
 * Verifies the peer's chain (RFC 5280 section 6, X509-SVID section 5) without relying on OpenSSL's verdict. Throws
 * no_peer without a certificate, else what `verifySvid` throws.
 */
export function verifyPeer(socket: TLSSocket, bundle: Bundle, now: Date): VerifiedSvid {
  // On a resumed session OpenSSL has not verified the peer's certificate again.
  ensure(!socket.isSessionReused(), 'no_peer', 'the TLS session was resumed');
  const chain = peerChain(socket);
  ensure(chain.length > 0, 'no_peer', 'the peer showed no certificate');
  return verifySvid(chain, bundle, now);
}

/** A certificate as Node gives it. The `issuerCertificate` of a root may be the root itself. */
interface Shown {
  readonly raw?: Uint8Array;
  readonly issuerCertificate?: Shown | undefined;
}

/** The chain that the peer sent, X.509 DER, leaf first. */
export const peerChain = (socket: TLSSocket): readonly Uint8Array[] =>
  chainFrom(socket.getPeerX509Certificate());

/** The same, from a leaf as Node gives it to `checkServerIdentity`. */
export function chainFrom(leaf: Shown | undefined): readonly Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate = leaf;
  while (certificate?.raw !== undefined && chain.length < READ_AT_MOST) {
    chain.push(certificate.raw);
    const issuer: Shown | undefined = certificate.issuerCertificate;
    certificate = issuer === certificate ? undefined : issuer;
  }
  return chain;
}
