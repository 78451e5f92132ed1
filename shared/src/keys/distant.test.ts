import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { expect, test } from 'vitest';
import { utf8 } from '../ground/bytes.ts';
import { distantSigner, Troubles } from './distant.ts';
import { derOfRaw, generateKey, spkiOf, spkiOfPoint } from './key.ts';

const REFERENCE = 'a key';
const wrong = (message: RegExp) =>
  expect.objectContaining({ code: 'key_wrong', message: expect.stringMatching(message) });

/** Signs a digest as a home does: ECDSA without hashing is what node signs under the name of no digest. */
function homeOf(key: KeyObject) {
  const troubles = new Troubles();
  let answer: (data: Uint8Array) => Uint8Array = (data) => sign('sha256', data, key);
  let signed: Uint8Array = new Uint8Array();
  const signer = distantSigner({
    spki: spkiOf(key),
    name: 'key 1',
    trouble: troubles.of(REFERENCE),
    signDigest: async () => answer(signed),
  });
  return {
    signer,
    troubles,
    answers: (given: typeof answer): void => {
      answer = given;
    },
    sign: (data: Uint8Array) => {
      signed = data;
      return signer.sign(data);
    },
  };
}

test.each([
  ['by another key', (data: Uint8Array) => sign('sha256', data, generateKey())],
  ['of other data', (_: Uint8Array, key: KeyObject) => sign('sha256', utf8('other'), key)],
  ['that is no DER', () => new Uint8Array(64)],
  ['of nothing', () => new Uint8Array()],
])('I135 a signature %s is not let out', async (_, answer) => {
  const key = generateKey();
  const home = homeOf(key);
  await home.sign(utf8('data'));
  home.answers((data) => answer(data, key));
  await expect(home.sign(utf8('data'))).rejects.toThrow(
    wrong(/key 1 gave a signature that is not of its public key/),
  );
  expect(home.signer.unable?.()).toMatch(/not of its public key/);
});

test('a key that failed is tried again by who asks, once at a time, and works when it signs', async () => {
  const key = generateKey();
  const home = homeOf(key);
  let asked = 0;
  home.answers(() => {
    asked += 1;
    throw new Error('away');
  });
  await expect(home.sign(utf8('data'))).rejects.toThrow('away');
  expect([home.signer.unable?.(), home.signer.unable?.()]).toEqual(['away', 'away']);
  await expect.poll(() => asked).toBe(2);
  home.answers(() => sign('sha256', utf8('chancery: does this key sign?'), key));
  await expect.poll(() => home.signer.unable?.()).toBeUndefined();
});

test('that the key is there does not end its trouble', async () => {
  const home = homeOf(generateKey());
  await expect(home.troubles.note(REFERENCE, () => Promise.reject(new Error('gone')))).rejects.toThrow(
    'gone',
  );
  await home.troubles.note(REFERENCE, async () => true);
  expect(home.signer.unable?.()).toBe('gone');
});

test('a key of another algorithm has no signer', () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  expect(() => homeOf(privateKey)).toThrow(wrong(/key 1 is expected on P-256 or P-384/));
});

test.each(['ecdsa-p256', 'ecdsa-p384'] as const)(
  'a point of %s is taken in an OCTET STRING or bare',
  (algorithm) => {
    const spki = Buffer.from(spkiOf(generateKey(algorithm)));
    const size = algorithm === 'ecdsa-p256' ? 65 : 97;
    const point = spki.subarray(-size);
    const parameters = spki.subarray(13, spki.indexOf(Buffer.from([0x03, size + 1, 0])));
    for (const form of [point, Buffer.concat([Buffer.from([4, size]), point])])
      expect(Buffer.from(spkiOfPoint(parameters, form) ?? [])).toEqual(spki);
    const compressed = Buffer.concat([Buffer.from([2]), point.subarray(1)]);
    for (const form of [
      point.subarray(1),
      Buffer.concat([point, Buffer.alloc(1)]),
      compressed,
      Buffer.alloc(0),
    ])
      expect(spkiOfPoint(parameters, form)).toBeUndefined();
    expect(spkiOfPoint(Buffer.from('06052b81040023', 'hex'), point)).toBeUndefined();
  },
);

test('a bare point is not taken for an OCTET STRING, whatever its coordinates begin with', () => {
  const spki = Buffer.from(spkiOf(generateKey()));
  const point = Buffer.from(spki.subarray(-65));
  point[1] = 63;
  expect(spkiOfPoint(spki.subarray(13, 23), point)).toHaveLength(91);
});

test('r and s are minimal in DER', () => {
  const raw = Buffer.concat([Buffer.alloc(31), Buffer.from([0x80]), Buffer.alloc(31), Buffer.from([1])]);
  expect(Buffer.from(derOfRaw(raw)).toString('hex')).toBe('3007020200800201' + '01');
});
