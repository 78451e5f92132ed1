/**
 * TLS options of all our endpoints: version 1.3 only, hybrid key agreement first, and no session resumption, because
 * Node accepts an expired client certificate on a resumed session (architecture.md D11).
 */
import { constants, type KeyObject } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import { writePem } from '../der/pem.ts';
import type { Bundle } from '../spiffe/bundle.ts';
import type { Svid } from '../spiffe/svid.ts';

/** X25519MLKEM768 first; the others for peers whose OpenSSL is older than 3.5. */
const GROUPS = 'X25519MLKEM768:X25519:P-256';

const BASE = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ecdhCurve: GROUPS,
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const satisfies SecureContextOptions;

/**
 * Options for a server. They accept any client certificate: call `verifyPeer` on every connection. Without an SVID
 * every handshake fails.
 */
export function serverTls(svid: Svid | undefined): SecureContextOptions {
  return { ...BASE, ...(svid === undefined ? {} : identityOf(svid)) };
}

/**
 * Options for a client; without an SVID it shows no certificate. `ca` makes OpenSSL refuse other authorities in the
 * handshake. The server's SPIFFE ID is not checked: call `verifyPeer`.
 */
export function clientTls(svid: Svid | undefined, bundle: Bundle): SecureContextOptions {
  const ca = bundle.authorities.map((der) => writePem('CERTIFICATE', der));
  return { ...BASE, ca, ...(svid === undefined ? {} : identityOf(svid)) };
}

function identityOf(svid: Svid): SecureContextOptions {
  return { cert: svid.chain.map((der) => writePem('CERTIFICATE', der)).join(''), key: keyPem(svid.key) };
}

/** The private key in PEM (PKCS #8), not encrypted. */
export function keyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}
