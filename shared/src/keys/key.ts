/** Keys that sign: made here, or a handle on one that lives elsewhere. Its algorithm is a property of a key. */
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { ensure } from '../ground/errors.ts';

interface Ecdsa {
  readonly namedCurve: string;
  readonly digest: 'sha256' | 'sha384';
  /** All of a SubjectPublicKeyInfo before the coordinates: RFC 5480 sections 2.1.1.1 and 2.2, an uncompressed point. */
  readonly spkiBegins: Buffer;
}

const ALGORITHMS = {
  'ecdsa-p256': {
    namedCurve: 'P-256',
    digest: 'sha256',
    spkiBegins: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex'),
  },
  'ecdsa-p384': {
    namedCurve: 'P-384',
    digest: 'sha384',
    spkiBegins: Buffer.from('3076301006072a8648ce3d020106052b8104002203620004', 'hex'),
  },
} as const satisfies Readonly<Record<string, Ecdsa>>;

export type KeyAlgorithm = keyof typeof ALGORITHMS;

const NAMES = Object.keys(ALGORITHMS) as readonly KeyAlgorithm[];

/** Whether a text names an algorithm that our signers have. */
export const isKeyAlgorithm = (name: string): name is KeyAlgorithm => Object.hasOwn(ALGORITHMS, name);

/** A signing key, wherever it is kept. */
export interface Signer {
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly algorithm: KeyAlgorithm;
  /** By the key's own algorithm. ECDSA as the DER sequence of r and s. */
  sign(data: Uint8Array): Promise<Uint8Array> | Uint8Array;
}

/** A fresh private key, in this process's memory. */
export function generateKey(algorithm: KeyAlgorithm = 'ecdsa-p256'): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: ALGORITHMS[algorithm].namedCurve }).privateKey;
}

/** Of a SubjectPublicKeyInfo, DER; undefined for keys that no signer of ours has. */
export function algorithmOf(spki: Uint8Array): KeyAlgorithm | undefined {
  return NAMES.find((name) => {
    const { spkiBegins } = ALGORITHMS[name];
    return spkiBegins.equals(spki.subarray(0, spkiBegins.length));
  });
}

/** `key` is private. Throws internal for keys other than those that we make. */
export function signerOf(key: KeyObject): Signer {
  const spki = spkiOf(key);
  const algorithm = algorithmOf(spki);
  ensure(algorithm !== undefined, 'internal', 'a key that signs is on P-256 or P-384');
  const { digest } = ALGORITHMS[algorithm];
  return { spki, algorithm, sign: (data) => sign(digest, data, key) };
}

/** Of a private or a public key. */
export function spkiOf(key: KeyObject): Uint8Array {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return publicKey.export({ type: 'spki', format: 'der' });
}
