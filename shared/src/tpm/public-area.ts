/** TPMT_PUBLIC (Part 2, 12.2.4) of a key that matches one of our templates. */
import { createPublicKey, hash, type KeyObject } from 'node:crypto';
import { asBuffer, concat, equal, Reader, u8, u16 } from '../ground/bytes.ts';
import { ensure, IdentityError, type Refusal } from '../ground/errors.ts';
import { ALG, ATTRIBUTE_NAMES, HASH_ID } from './algorithms.ts';
import type { KeyShape, Template } from './templates.ts';

export interface PublicArea {
  readonly template: Template;
  readonly bytes: Uint8Array;
  /** The RSA modulus, or the point's x and y; each as long as the field. */
  readonly unique: Uint8Array;
}

const UNIQUE_BYTES = { rsa2048: [256], p256: [32, 32], p384: [48, 48] } as const satisfies Record<
  KeyShape,
  readonly number[]
>;

/** Throws `code` unless `bytes` begin with the template's prefix, byte for byte, and end with a key of its shape. */
export function readPublicArea(bytes: Uint8Array, template: Template, code: Refusal): PublicArea {
  const { prefix, name, shape } = template;
  const isOurs = startsWith(bytes, prefix);
  ensure(
    isOurs,
    code,
    `the public area is not the template ${name}${isOurs ? '' : differenceOf(bytes, prefix)}`,
  );
  const reader = new Reader(bytes.subarray(prefix.length), code);
  const unique = UNIQUE_BYTES[shape].map((length) => leftPad(reader.sized16(name, length), length));
  reader.done(name);
  return { template, bytes, unique: concat(...unique) };
}

/** TPMT_PUBLIC begins with the key's type and its nameAlg, two bytes each; then come the attributes. */
const ATTRIBUTES_AT = 4;
const TYPES = new Map<number, string>([
  [ALG.rsa, 'RSA'],
  [ALG.ecc, 'ECC'],
]);

/**
 * How the area differs from the template, for a user whose key another program made. Compares type and attributes only.
 */
function differenceOf(bytes: Uint8Array, prefix: Uint8Array): string {
  if (bytes.length < ATTRIBUTES_AT + 4) return ': it ends early';
  const type = asBuffer(bytes).readUInt16BE(0);
  const wanted = asBuffer(prefix).readUInt16BE(0);
  if (type !== wanted) return `: it is ${TYPES.get(type) ?? 'of another type'}, not ${TYPES.get(wanted)}`;
  const [has, wants] = [attributesOf(bytes), attributesOf(prefix)];
  const names = (bits: number): string =>
    ATTRIBUTE_NAMES.flatMap(([name, bit]) => (bits & bit ? [name] : [])).join(', ');
  if (has & ~wants) return `: it must not have ${names(has & ~wants) || 'reserved attributes'}`;
  if (wants & ~has) return `: it lacks ${names(wants & ~has)}`;
  return ': another hash, policy, scheme or curve';
}

/** Whether `bytes` begin with `prefix`; false if they are shorter. */
export function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return bytes.length >= prefix.length && equal(bytes.subarray(0, prefix.length), prefix);
}

/** The object attributes of any TPMT_PUBLIC; 0, which no key has, if it is too short. */
export function attributesOf(bytes: Uint8Array): number {
  return bytes.length < 8 ? 0 : asBuffer(bytes).readUInt32BE(4);
}

/**
 * The name of a key (Part 1, "Names"): nameAlg, then the hash of the public area. Names are computed here and never
 * received.
 */
export function nameOf(area: PublicArea): Uint8Array {
  const { nameAlg } = area.template;
  return concat(u16(HASH_ID[nameAlg]), hash(nameAlg, area.bytes, 'buffer'));
}

/** The bytes before the key in a SubjectPublicKeyInfo: RFC 8017 A.1 with e = 65537, RFC 5480. */
const SPKI_HEAD = {
  rsa2048: '30820122300d06092a864886f70d01010105000382010f003082010a0282010100',
  p256: '3059301306072a8648ce3d020106082a8648ce3d030107034200',
  p384: '3076301006072a8648ce3d020106052b81040022036200',
} as const satisfies Record<KeyShape, string>;

const UNCOMPRESSED = u8(4);
const EXPONENT_65537 = Buffer.from('0203010001', 'hex');

/** SubjectPublicKeyInfo, DER. */
export function spkiOf(area: PublicArea): Uint8Array {
  const head = Buffer.from(SPKI_HEAD[area.template.shape], 'hex');
  return area.template.shape === 'rsa2048'
    ? concat(head, area.unique, EXPONENT_65537)
    : concat(head, UNCOMPRESSED, area.unique);
}

/** The public key. Throws `code` for a point that is not on its curve, also for infinity. */
export function keyOf(area: PublicArea, code: Refusal): KeyObject {
  try {
    return createPublicKey({ key: asBuffer(spkiOf(area)), format: 'der', type: 'spki' });
  } catch (error) {
    throw new IdentityError(code, `${area.template.name} holds no valid key`, { cause: error });
  }
}

/** Some TPMs omit the leading zeros of a coordinate. */
function leftPad(bytes: Uint8Array, length: number): Uint8Array {
  return concat(new Uint8Array(length - bytes.length), bytes);
}
