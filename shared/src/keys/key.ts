/** Keys that sign: P-256 made here, or a handle on one that lives elsewhere. */
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

/** A signing key, wherever it is kept. */
export interface Signer {
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** ECDSA over SHA-256 of `data`, as the DER sequence of r and s. */
  sign(data: Uint8Array): Promise<Uint8Array> | Uint8Array;
}

/** A fresh P-256 private key, in this process's memory. */
export function generateKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/** `key` is a private EC key. */
export function signerOf(key: KeyObject): Signer {
  return { spki: spkiOf(key), sign: (data) => sign('sha256', data, key) };
}

/** Of a private or a public key. */
export function spkiOf(key: KeyObject): Uint8Array {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return publicKey.export({ type: 'spki', format: 'der' });
}
