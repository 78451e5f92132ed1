/** Signature algorithms, as the exact AlgorithmIdentifier bytes of RFC 5758 §3.2 and RFC 4055 §5. */
import { type KeyObject, verify } from 'node:crypto';
import { hex } from '../ground/bytes.ts';
import type { KeyAlgorithm } from '../keys/key.ts';

interface SignatureAlgorithm {
  readonly digest: 'sha256' | 'sha384' | 'sha512';
  readonly keyType: 'ec' | 'rsa';
}

/** The algorithms of our signers: ecdsa-with-SHA256 and ecdsa-with-SHA384. */
export const IDENTIFIER: Readonly<Record<KeyAlgorithm, Uint8Array>> = {
  'ecdsa-p256': Buffer.from('300a06082a8648ce3d040302', 'hex'),
  'ecdsa-p384': Buffer.from('300a06082a8648ce3d040303', 'hex'),
};

/**
 * Absent parameters for ECDSA, NULL for RSA PKCS #1 v1.5. SHA-1 and PSS are not supported: no certificate that we read
 * needs them.
 */
const ALGORITHMS: ReadonlyMap<string, SignatureAlgorithm> = new Map([
  [hex(IDENTIFIER['ecdsa-p256']), { digest: 'sha256', keyType: 'ec' }],
  [hex(IDENTIFIER['ecdsa-p384']), { digest: 'sha384', keyType: 'ec' }],
  ['300a06082a8648ce3d040304', { digest: 'sha512', keyType: 'ec' }],
  ['300d06092a864886f70d01010b0500', { digest: 'sha256', keyType: 'rsa' }],
  ['300d06092a864886f70d01010c0500', { digest: 'sha384', keyType: 'rsa' }],
  ['300d06092a864886f70d01010d0500', { digest: 'sha512', keyType: 'rsa' }],
]);

export interface Signed {
  /** The whole AlgorithmIdentifier. */
  readonly algorithm: Uint8Array;
  readonly data: Uint8Array;
  /** ECDSA as the DER sequence of r and s. */
  readonly signature: Uint8Array;
}

/** False for an unknown algorithm, one that does not fit the key, and a signature that does not verify. */
export function isSignedBy(signed: Signed, key: KeyObject): boolean {
  const algorithm = ALGORITHMS.get(hex(signed.algorithm));
  if (algorithm === undefined || algorithm.keyType !== key.asymmetricKeyType) return false;
  return verify(algorithm.digest, signed.data, key, signed.signature);
}
