/** A key of the stand-in for KMS: what it is, and ECDSA over a digest. */
import { createECDH, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { derOfRaw } from '@chancery/shared/keys/key.ts';
import type { Account } from './directory.ts';

/** "Asymmetric key specs" in the KMS Developer Guide. */
export const SPECS = {
  ECC_NIST_P256: { curve: 'prime256v1', signing: 'ECDSA_SHA_256', digestBytes: 32, order: 'P-256' },
  ECC_NIST_P384: { curve: 'secp384r1', signing: 'ECDSA_SHA_384', digestBytes: 48, order: 'P-384' },
} as const;
export type Spec = keyof typeof SPECS;

const ORDERS = {
  'P-256': 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  'P-384':
    0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
};

export type KeyState = 'Enabled' | 'Disabled' | 'PendingDeletion' | 'Unavailable';

export interface KmsKey {
  readonly arn: string;
  readonly id: string;
  readonly spec: Spec;
  readonly usage: 'SIGN_VERIFY' | 'KEY_AGREEMENT';
  readonly origin: 'AWS_KMS' | 'EXTERNAL';
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly createdAt: Date;
  /** Tests may replace it, as nobody can in KMS. */
  privateKey: KeyObject;
  state: KeyState;
  deletionDays?: number;
}

export type NewKmsKey = Partial<Pick<KmsKey, 'spec' | 'usage' | 'origin' | 'description' | 'tags'>>;

export function makeKmsKey({ id: account, partition }: Account, region: string, given: NewKmsKey): KmsKey {
  const { spec = 'ECC_NIST_P256', usage = 'SIGN_VERIFY', origin = 'AWS_KMS' } = given;
  const { description = '', tags = {} } = given;
  const id = randomUUID();
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: SPECS[spec].curve });
  const arn = `arn:${partition}:kms:${region}:${account}:key/${id}`;
  const about = { arn, id, spec, usage, origin, description, tags };
  return { ...about, createdAt: new Date(), privateKey, state: 'Enabled' };
}

/** ECDSA (FIPS 186-5 section 6.4.1) over a digest as long as the order; node:crypto hashes what it signs. */
export function signDigest({ spec, privateKey }: KmsKey, digest: Uint8Array): Uint8Array {
  const { curve, order, digestBytes } = SPECS[spec];
  const n = ORDERS[order];
  const once = createECDH(curve);
  const point = once.generateKeys();
  const k = numberOf(once.getPrivateKey());
  const r = numberOf(point.subarray(1, 1 + digestBytes)) % n;
  const d = numberOf(Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url'));
  const s = (inverse(k, n) * (numberOf(digest) + r * d)) % n;
  return derOfRaw(Buffer.from([r, s].map((each) => hexOf(each, digestBytes)).join(''), 'hex'));
}

const numberOf = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
const hexOf = (value: bigint, bytes: number): string => value.toString(16).padStart(2 * bytes, '0');

/** By Fermat: the order is a prime. */
function inverse(value: bigint, n: bigint): bigint {
  let [result, base] = [1n, value % n];
  for (let power = n - 2n; power > 0n; power >>= 1n) {
    if (power & 1n) result = (result * base) % n;
    base = (base * base) % n;
  }
  return result;
}
