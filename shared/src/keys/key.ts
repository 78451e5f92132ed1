/** Keys that sign: made here, or a handle on one that lives elsewhere. Its algorithm is a property of a key. */
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { octets, oid, sequence, unsignedInteger } from '../der/write.ts';
import { concat, equal } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';

interface Ecdsa {
  readonly namedCurve: string;
  readonly digest: 'sha256' | 'sha384';
  /** ECParameters: the curve by its name (RFC 5480 section 2.1.1). */
  readonly parameters: Uint8Array;
  /** All of a SubjectPublicKeyInfo before the coordinates: RFC 5480 sections 2.1.1.1 and 2.2, an uncompressed point. */
  readonly spkiBegins: Buffer;
}

const ALGORITHMS = {
  'ecdsa-p256': {
    namedCurve: 'P-256',
    digest: 'sha256',
    parameters: oid('1.2.840.10045.3.1.7'),
    spkiBegins: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex'),
  },
  'ecdsa-p384': {
    namedCurve: 'P-384',
    digest: 'sha384',
    parameters: oid('1.3.132.0.34'),
    spkiBegins: Buffer.from('3076301006072a8648ce3d020106052b8104002203620004', 'hex'),
  },
} as const satisfies Readonly<Record<string, Ecdsa>>;

export type KeyAlgorithm = keyof typeof ALGORITHMS;

/** All that our signers have. */
export const KEY_ALGORITHMS = Object.keys(ALGORITHMS) as readonly KeyAlgorithm[];

/** Whether a text names an algorithm that our signers have. */
export const isKeyAlgorithm = (name: string): name is KeyAlgorithm => Object.hasOwn(ALGORITHMS, name);

/** A signing key, wherever it is kept. */
export interface Signer {
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly algorithm: KeyAlgorithm;
  /** By the key's own algorithm. ECDSA as the DER sequence of r and s. */
  sign(data: Uint8Array): Promise<Uint8Array> | Uint8Array;
  /** Why the last use of the key failed, and a new try in the background; undefined if it did not fail. */
  unable?(): string | undefined;
}

/** A fresh private key, in this process's memory. */
export function generateKey(algorithm: KeyAlgorithm = 'ecdsa-p256'): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: ALGORITHMS[algorithm].namedCurve }).privateKey;
}

/** Of a SubjectPublicKeyInfo, DER; undefined for keys that no signer of ours has. */
export function algorithmOf(spki: Uint8Array): KeyAlgorithm | undefined {
  return KEY_ALGORITHMS.find((name) => {
    const { spkiBegins } = ALGORITHMS[name];
    return spkiBegins.equals(spki.subarray(0, spkiBegins.length));
  });
}

/** What ECDSA signs with this key. */
export const digestNameOf = (algorithm: KeyAlgorithm): 'sha256' | 'sha384' => ALGORITHMS[algorithm].digest;

/** The curve as ECParameters, DER. */
export const parametersOf = (algorithm: KeyAlgorithm): Uint8Array => ALGORITHMS[algorithm].parameters;

/**
 * SubjectPublicKeyInfo of a point, uncompressed, as a token gives it: in an OCTET STRING (PKCS #11 v2.40 section
 * 2.3.3), or bare as some do. Undefined if it is not a point of our curves.
 */
export function spkiOfPoint(parameters: Uint8Array, point: Uint8Array): Uint8Array | undefined {
  const found = KEY_ALGORITHMS.find((name) => equal(ALGORITHMS[name].parameters, parameters));
  if (found === undefined) return undefined;
  const { spkiBegins } = ALGORITHMS[found];
  // Of an SPKI the second byte is the length of all that follows; its last byte before the point says "uncompressed".
  const size = (spkiBegins[1] ?? 0) + 2 - spkiBegins.length;
  const wrapped = point.length === size + 3 && equal(octets(point.subarray(2)), point);
  const bare = wrapped ? point.subarray(2) : point;
  if (bare.length !== size + 1 || bare[0] !== 4) return undefined;
  return concat(spkiBegins, bare.subarray(1));
}

/** ECDSA-Sig-Value (RFC 3279 section 2.2.3) of r and s beside each other, each as long as the curve's order. */
export function derOfRaw(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2;
  return sequence(unsignedInteger(raw.subarray(0, half)), unsignedInteger(raw.subarray(half)));
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
