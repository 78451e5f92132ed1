/** Who is at the other end of a TLS connection: an X.509-SVID of the bundle's trust domain, or a refusal. */
import type { TLSSocket } from 'node:tls';
import { ensure } from '../ground/errors.ts';
import type { Bundle } from '../spiffe/bundle.ts';
import { type VerifiedSvid, verifySvid } from '../x509/verify/svid.ts';

/** One more than path validation takes, so that a longer chain is seen to be too long. */
const READ_AT_MOST = 17;

/**
 * Validates the peer's chain ourselves (RFC 5280 section 6, X509-SVID section 5), whatever OpenSSL thought of it.
 * Throws no_peer without a certificate, else what `verifySvid` throws.
 */
export function verifyPeer(socket: TLSSocket, bundle: Bundle, now: Date): VerifiedSvid {
  // A resumed session would carry yesterday's verdict on the peer.
  ensure(!socket.isSessionReused(), 'no_peer', 'the TLS session was resumed');
  const chain = peerChain(socket);
  ensure(chain.length > 0, 'no_peer', 'the peer showed no certificate');
  return verifySvid(chain, bundle, now);
}

/** As Node shows it: a root may be its own issuer. */
interface Shown {
  readonly raw?: Uint8Array;
  readonly issuerCertificate?: Shown | undefined;
}

/** The chain that the peer sent, X.509 DER, leaf first. */
export const peerChain = (socket: TLSSocket): readonly Uint8Array[] =>
  chainFrom(socket.getPeerX509Certificate());

/** The same from its leaf, where there is no socket to ask. */
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
