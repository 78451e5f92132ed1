/**
 * Which public keys are accepted. To be certified: P-256, P-384, and RSA of 2048 to 4096 bits with exponent 65537. In
 * certificates of others: also P-521, and RSA to 8192 bits.
 *
 * Each key has exactly one accepted SubjectPublicKeyInfo, so its hash names the key: named curves and uncompressed
 * points only (RFC 5480 §2.1.1, §2.2), NULL parameters for RSA (RFC 3279 §2.3.1). Keys of the ROCA generator are
 * recognised by their modulus and are not certified. Keys of a predictable generator (Debian's OpenSSL of 2006 to 2008)
 * are known only from lists. All of them are RSA keys, so a CSR may not bring an RSA key.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { DerReader, TAG } from '../der/read.ts';
import { asBuffer, equal, hex } from '../ground/bytes.ts';
import { ensure, type Refusal, refusalOf } from '../ground/errors.ts';

interface Policy {
  /** Length and first bytes of a SubjectPublicKeyInfo: all that comes before the coordinates. */
  readonly curves: readonly { size: number; prefix: Buffer }[];
  readonly maxRsaBits: number;
}

/** SEQUENCE, id-ecPublicKey, the curve, BIT STRING, 4 for uncompressed. */
const P256 = {
  size: 91,
  prefix: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex'),
};
const P384 = { size: 120, prefix: Buffer.from('3076301006072a8648ce3d020106052b8104002203620004', 'hex') };
const P521 = {
  size: 158,
  prefix: Buffer.from('30819b301006072a8648ce3d020106052b810400230381860004', 'hex'),
};

const CERTIFIED: Policy = { curves: [P256, P384], maxRsaBits: 4096 };
/** Keys that others certified: roots of TPM makers have P-521. */
const RELIED_ON: Policy = { curves: [P256, P384, P521], maxRsaBits: 8192 };

const RSA_ENCRYPTION = Buffer.from('300d06092a864886f70d0101010500', 'hex');
const F4 = Uint8Array.of(1, 0, 1);
const MIN_RSA_BITS = 2048;

/** A key that we are asked to certify. Throws `code`. */
export function ensureStrongKey(spki: Uint8Array, code: Refusal): KeyObject {
  const { key, modulus } = importKey(spki, CERTIFIED, code);
  ensure(
    modulus === undefined || !isRoca(modulus),
    code,
    'RSA key was made by the ROCA generator (CVE-2017-15361)',
  );
  return key;
}

/** A key in a certificate that somebody signed, to check signatures with. Throws `code`. */
export function importCertifiedKey(spki: Uint8Array, code: Refusal): KeyObject {
  return importKey(spki, RELIED_ON, code).key;
}

/** OpenSSL checks that an EC point is on its curve. */
function importKey(
  spki: Uint8Array,
  policy: Policy,
  code: Refusal,
): { key: KeyObject; modulus?: Uint8Array } {
  const modulus = isEcSpki(spki, policy) ? undefined : ensureRsa(spki, policy, code);
  try {
    const key = createPublicKey({ key: asBuffer(spki), format: 'der', type: 'spki' });
    return modulus === undefined ? { key } : { key, modulus };
  } catch (error) {
    throw refusalOf(error, code, 'public key is not a point on its curve');
  }
}

function isEcSpki(spki: Uint8Array, { curves }: Policy): boolean {
  return curves.some(
    ({ size, prefix }) => spki.length === size && equal(spki.subarray(0, prefix.length), prefix),
  );
}

function ensureRsa(spki: Uint8Array, { maxRsaBits }: Policy, code: Refusal): Uint8Array {
  const { modulus, exponent } = readRsaSpki(spki, code);
  const bits = modulus.length * 8;
  ensure(bits >= MIN_RSA_BITS, code, `RSA key has ${bits} bits, at least ${MIN_RSA_BITS}`);
  ensure(bits <= maxRsaBits, code, `RSA key has ${bits} bits, at most ${maxRsaBits}`);
  ensure((modulus[0] ?? 0) >= 0x80, code, 'RSA modulus does not fill its bytes');
  ensure(((modulus[modulus.length - 1] ?? 0) & 1) === 1, code, 'RSA modulus is even');
  ensure(equal(exponent, F4), code, `RSA exponent is 0x${hex(exponent)}, not 65537`);
  return modulus;
}

function readRsaSpki(spki: Uint8Array, code: Refusal): { modulus: Uint8Array; exponent: Uint8Array } {
  const outer = new DerReader(spki, code);
  const info = outer.sequence('public key');
  const algorithm = info.element(TAG.sequence, 'public key algorithm');
  ensure(equal(algorithm, RSA_ENCRYPTION), code, 'public key is neither on an accepted curve nor RSA');
  const key = new DerReader(info.bitBytes('RSA public key'), code);
  info.done('public key');
  outer.done('public key');
  const numbers = key.sequence('RSA public key');
  const modulus = unsigned(numbers.integer('RSA modulus'), code);
  const exponent = unsigned(numbers.integer('RSA exponent'), code);
  numbers.done('RSA public key');
  key.done('RSA public key');
  return { modulus, exponent };
}

function unsigned(integer: Uint8Array, code: Refusal): Uint8Array {
  ensure((integer[0] ?? 0) < 0x80, code, 'RSA public key has a negative number');
  return integer[0] === 0 ? integer.subarray(1) : integer;
}

/**
 * Infineon's generator made primes k * M + (65537^a mod M), M a product of small primes: modulo each of them such a
 * modulus is a power of 65537. Another key passes all of these by chance once in 2^28 (Nemec et al., CCS 2017, §2.3).
 */
const ROCA_PRIMES = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157] as const;

/** Whether an RSA modulus (big-endian) has the form of CVE-2017-15361; a sound key has it by chance, very rarely. */
export function isRoca(modulus: Uint8Array): boolean {
  return ROCA_PRIMES.every((prime) => isPowerOfF4(remainder(modulus, prime), prime));
}

function remainder(modulus: Uint8Array, prime: number): number {
  return modulus.reduce((rest, byte) => (rest * 256 + byte) % prime, 0);
}

function isPowerOfF4(value: number, prime: number): boolean {
  let power = 1;
  for (let i = 1; i < prime; i += 1) {
    if (power === value) return true;
    power = (power * 65537) % prime;
  }
  return false;
}
