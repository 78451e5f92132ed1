import { checkPrimeSync, createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { extension } from '../../../test/kit/certificates.ts';
import * as der from '../der/write.ts';
import { asBuffer, concat, hex } from '../ground/bytes.ts';
import { generateKey, signerOf, spkiOf } from '../keys/key.ts';
import { commonName } from './compose/tbs.ts';
import { verifyCsr, writeCsr } from './csr.ts';
import { basicConstraints, EKU, extKeyUsage, subjectAltName } from './extensions.ts';
import { isRoca } from './key-strength.ts';
import { EMPTY_NAME } from './names.ts';

const EXTENSION_REQUEST = '1.2.840.113549.1.9.14';
const ECDSA = {
  256: der.sequence(der.oid('1.2.840.10045.4.3.2')),
  384: der.sequence(der.oid('1.2.840.10045.4.3.3')),
};
const RSA_256 = der.sequence(der.oid('1.2.840.113549.1.1.11'), der.tlv(0x05));
const key = generateKey();

interface Csr {
  readonly key?: KeyObject;
  readonly spki?: Uint8Array;
  readonly version?: Uint8Array;
  readonly subject?: Uint8Array;
  readonly attributes?: Uint8Array;
  readonly algorithm?: Uint8Array;
  readonly digest?: string;
  readonly more?: Uint8Array;
  readonly moreInfo?: Uint8Array;
}

const nothing = new Uint8Array();

/** A genuine CSR with the given changes. */
function csr(changed: Csr = {}): Uint8Array {
  const signer = changed.key ?? key;
  const info = der.sequence(
    changed.version ?? der.smallInteger(0),
    changed.subject ?? EMPTY_NAME,
    changed.spki ?? spkiOf(signer),
    changed.attributes ?? der.explicit(0),
    changed.moreInfo ?? nothing,
  );
  const signature = sign(changed.digest ?? 'sha256', info, signer);
  return der.sequence(
    info,
    changed.algorithm ?? ECDSA[256],
    der.bitBytes(signature),
    changed.more ?? nothing,
  );
}

const attribute = (type: string, ...values: readonly Uint8Array[]) =>
  der.sequence(der.oid(type), der.set(...values));
const rsa = (bits: number, publicExponent = 65537) =>
  generateKeyPairSync('rsa', { modulusLength: bits, publicExponent }).privateKey;
const rsa2048 = rsa(2048);

describe('proves the key of', () => {
  test('the CSR that the agent writes', async () => {
    const { spki, publicKey, sha256 } = verifyCsr(await writeCsr(signerOf(key)));
    expect(hex(spki)).toBe(hex(spkiOf(key)));
    expect(publicKey.asymmetricKeyType).toBe('ec');
    expect(sha256).toHaveLength(32);
  });

  test('P-384 with SHA-384', () => {
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
    const withP384 = csr({ key: p384, algorithm: ECDSA[384], digest: 'sha384' });
    expect(hex(verifyCsr(withP384).spki)).toBe(hex(spkiOf(p384)));
  });

  /** attacks.md I2: only the key comes out. */
  test('a CSR that asks for names, to be an authority, and other purposes', () => {
    const wishes = der.sequence(
      basicConstraints({ pathLength: undefined }),
      extKeyUsage(EKU.any),
      subjectAltName({ uris: ['spiffe://prod.example/admin'], dnsNames: ['admin.example'], critical: false }),
    );
    const attributes = der.explicit(0, attribute(EXTENSION_REQUEST, wishes));
    const proven = verifyCsr(csr({ subject: commonName('admin'), attributes }));
    expect(Object.keys(proven).sort()).toEqual(['publicKey', 'sha256', 'spki']);
    expect(hex(proven.spki)).toBe(hex(spkiOf(key)));
  });
});

describe('refuses', () => {
  const good = csr();
  const other = generateKey();
  const nested = (depth: number): Uint8Array =>
    depth === 0 ? der.sequence() : der.sequence(nested(depth - 1));
  const wishing = (...extensions: readonly Uint8Array[]) =>
    csr({ attributes: der.explicit(0, attribute(EXTENSION_REQUEST, der.sequence(...extensions))) });
  const names = Array.from({ length: 10_000 }, (_, i) => der.implicit(2, Buffer.from(`n${i}.example`)));
  const wish = extension('2.5.29.17', false, nothing);
  const bentSignature = Uint8Array.from(good);
  bentSignature[good.length - 1] = (good[good.length - 1] ?? 0) ^ 1;

  /** attacks.md I1 and I4. */
  test.each([
    ['a bent signature', bentSignature, 'csr_pop', /not signed by the key/],
    ["someone else's key", csr({ spki: spkiOf(other) }), 'csr_pop', /not signed by the key/],
    ['another digest than it says', csr({ algorithm: ECDSA[384] }), 'csr_pop', /not signed by the key/],
    ['an RSA algorithm with an EC key', csr({ algorithm: RSA_256 }), 'csr_pop', /not signed by the key/],
    [
      'SHA-1',
      csr({ algorithm: der.sequence(der.oid('1.2.840.10045.4.1')), digest: 'sha1' }),
      'csr_pop',
      /not signed/,
    ],
    ['1 MB', concat(good, Buffer.alloc(2 ** 20)), 'csr_size', /1048\d+ bytes, at most 16384/],
    [
      '10,000 names',
      wishing(extension('2.5.29.17', false, der.sequence(...names))),
      'csr_size',
      /at most 16384/,
    ],
    ['nothing', nothing, 'csr_parse', /CSR is missing/],
    ['trailing bytes', concat(good, nothing, Uint8Array.of(0)), 'csr_parse', /CSR has 1 trailing/],
    ['trailing bytes inside', csr({ more: der.sequence() }), 'csr_parse', /CSR has 2 trailing/],
    [
      'trailing bytes in what is signed',
      csr({ moreInfo: der.sequence() }),
      'csr_parse',
      /information has 2 trailing/,
    ],
    [
      'an indefinite length',
      Buffer.from(`3080${hex(good).slice(6)}0000`, 'hex'),
      'csr_parse',
      /indefinite length/,
    ],
    ['another version', csr({ version: der.smallInteger(1) }), 'csr_parse', /version 2, not 1/],
    ['deep nesting in the subject', csr({ subject: nested(40) }), 'csr_parse', /subject is nested deeper/],
    [
      'deep nesting in an attribute',
      csr({ attributes: der.explicit(0, nested(40)) }),
      'csr_parse',
      /nested deeper/,
    ],
    ['a bent subject', csr({ subject: der.sequence(der.tlv(5, wish)) }), 'csr_parse', /NULL with content/],
    ['no attributes', csr({ attributes: nothing }), 'csr_parse', /attributes is missing/],
    [
      'an attribute without a value',
      csr({ attributes: der.explicit(0, attribute('1.2.3')) }),
      'csr_parse',
      /no value/,
    ],
    [
      'an attribute with more in it',
      csr({ attributes: der.explicit(0, der.sequence(der.oid('1.2.3'), der.set(der.tlv(5)), der.tlv(5))) }),
      'csr_parse',
      /attribute has 2 trailing/,
    ],
    ['one extension asked for twice', wishing(wish, wish), 'csr_parse', /2.5.29.17 is there twice/],
    ['an empty list of extensions', wishing(), 'csr_parse', /list of extensions is empty/],
    [
      'two lists of extensions',
      csr({
        attributes: der.explicit(0, attribute(EXTENSION_REQUEST, der.sequence(wish), der.sequence(wish))),
      }),
      'csr_parse',
      /extensions has \d+ trailing/,
    ],
  ] as const)('%s', (_, input, code, message) => {
    expect(() => verifyCsr(input)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  /** attacks.md I3. */
  const generate = (type: 'ed448' | 'ed25519') => generateKeyPairSync(type as 'ed448').privateKey;
  const ec = (namedCurve: string, paramEncoding?: 'explicit') =>
    generateKeyPairSync('ec', { namedCurve, ...(paramEncoding && { paramEncoding }) }).privateKey;
  const rsaSpki = (modulus: Uint8Array, exponent: Uint8Array, tail: Uint8Array = nothing) =>
    der.sequence(
      der.sequence(der.oid('1.2.840.113549.1.1.1'), der.tlv(0x05)),
      der.bitBytes(der.sequence(modulus, exponent, tail)),
    );
  const modulus = Buffer.from(String(rsa2048.export({ format: 'jwk' }).n), 'base64url');
  const f4 = der.smallInteger(65537);
  const p256 = spkiOf(key);
  const offCurve = Uint8Array.from(p256);
  offCurve[60] = (offCurve[60] ?? 0) ^ 1;
  const compressed = der.sequence(
    p256.subarray(2, 23),
    der.bitBytes(concat(Uint8Array.of(2), p256.subarray(27, 59))),
  );
  const even = Uint8Array.from(modulus);
  even[even.length - 1] = 2;

  test.each([
    ['a strong RSA-2048 key', { key: rsa2048, algorithm: RSA_256 }, /RSA keys are not certified/],
    ['RSA-4096', { key: rsa(4096), algorithm: RSA_256 }, /RSA keys are not certified/],
    ['RSA-1024', { key: rsa(1024), algorithm: RSA_256 }, /1024 bits, at least 2048/],
    [
      'RSA-8192',
      { spki: rsaSpki(der.unsignedInteger(Buffer.alloc(1024, 0xff)), f4) },
      /8192 bits, at most 4096/,
    ],
    [
      'RSA-2049',
      { spki: rsaSpki(der.unsignedInteger(concat(Uint8Array.of(1), modulus)), f4) },
      /does not fill/,
    ],
    ['an even modulus', { spki: rsaSpki(der.unsignedInteger(even), f4) }, /modulus is even/],
    ['e = 3', { key: rsa(2048, 3), algorithm: RSA_256 }, /exponent is 0x03, not 65537/],
    ['a negative modulus', { spki: rsaSpki(der.tlv(2, modulus), f4) }, /negative number/],
    [
      'a third number',
      { spki: rsaSpki(der.unsignedInteger(modulus), f4, f4) },
      /RSA public key has 5 trailing/,
    ],
    ['P-192', { key: ec('prime192v1') }, /neither on an accepted curve nor RSA/],
    ['P-521', { key: ec('P-521') }, /neither on an accepted curve nor RSA/],
    ['secp256k1', { key: ec('secp256k1') }, /neither on an accepted curve nor RSA/],
    ['P-256 by its parameters', { key: ec('P-256', 'explicit') }, /neither on an accepted curve nor RSA/],
    ['a compressed point', { spki: compressed }, /neither on an accepted curve nor RSA/],
    ['a point off the curve', { spki: offCurve }, /not a point on its curve/],
    [
      'a longer point',
      { spki: der.sequence(p256.subarray(2), nothing, der.tlv(5)) },
      /neither on an accepted/,
    ],
    ['Ed448', { spki: spkiOf(generate('ed448')) }, /neither on an accepted curve nor RSA/],
    ['Ed25519', { spki: spkiOf(generate('ed25519')) }, /neither on an accepted curve nor RSA/],
    ['ROCA', { key: rocaKey(), algorithm: RSA_256 }, /ROCA generator/],
  ] as const)('a key that is %s', (_, changed, message) => {
    const refusal = expect.objectContaining({ code: 'csr_key', message: expect.stringMatching(message) });
    expect(() => verifyCsr(csr(changed))).toThrow(refusal);
  });

  test('no ordinary RSA key as a ROCA key', () => {
    expect(isRoca(modulus)).toBe(false);
  });
});

/**
 * A key as Infineon's library made them: primes k * M + (65537^a mod M), M the product of the first 126 primes for
 * 2048 bits (Nemec et al., CCS 2017, §2.1).
 */
function rocaKey(): KeyObject {
  const primes: bigint[] = [];
  for (let n = 2n; primes.length < 126; n += 1n)
    if (primes.every((prime) => n % prime !== 0n)) primes.push(n);
  const product = primes.reduce((a, b) => a * b);
  const prime = (a: bigint): bigint => {
    const tail = power(65537n, a, product);
    let k = (3n << 1022n) / product;
    while (!checkPrimeSync(k * product + tail)) k += 1n;
    return k * product + tail;
  };
  const [p, q] = [prime(123_456_789n), prime(987_654_321n)];
  const totient = (p - 1n) * (q - 1n);
  const d = inverse(65537n, totient);
  const numbers = { n: p * q, e: 65537n, d, p, q, dp: d % (p - 1n), dq: d % (q - 1n), qi: inverse(q, p) };
  const jwk = Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, base64url(value)]));
  return createPrivateKey({ key: { kty: 'RSA', ...jwk }, format: 'jwk' });
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let out = 1n;
  for (let b = base, e = exponent; e > 0n; e >>= 1n, b = (b * b) % modulus)
    if (e & 1n) out = (out * b) % modulus;
  return out;
}

function inverse(value: bigint, modulus: bigint): bigint {
  let [r, newR, t, newT] = [modulus, value % modulus, 0n, 1n];
  while (newR !== 0n) {
    const quotient = r / newR;
    [r, newR, t, newT] = [newR, r - quotient * newR, newT, t - quotient * newT];
  }
  return ((t % modulus) + modulus) % modulus;
}

function base64url(value: bigint): string {
  const text = value.toString(16);
  return asBuffer(Buffer.from(text.padStart(text.length + (text.length % 2), '0'), 'hex')).toString(
    'base64url',
  );
}
