/** T5 to T10, T30, T31, T33, T34, T39: keys that are not what they say, and exchanges that are not this one. */
import { createHmac } from 'node:crypto';
import type { TpmOpening } from '@chancery/shared/evidence/tpm.ts';
import { concat, u8, u16, u32 } from '@chancery/shared/ground/bytes.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { AK, TPM_KEY } from '@chancery/shared/tpm/templates.ts';
import { type ProvenKey, verifyCsr, writeCsr } from '@chancery/shared/x509/csr.ts';
import { beforeAll, expect, test } from 'vitest';
import { type FakeTpm, type Forged, makeAreaKey, makeFakeTpm, sized } from '../../kit/tpm/fake-tpm.ts';
import {
  type AttestorOptions,
  attestFake,
  attestorTrusting,
  bindingOf,
  type Expected,
  expectRefusal,
  type FakeExchange,
  memoryOf,
  NOW,
} from '../../kit/tpm/tpm-attestor.ts';

interface Row extends Expected, FakeExchange {
  readonly name: string;
  readonly options?: AttestorOptions;
}

let tpm: FakeTpm;
let other: ProvenKey;
beforeAll(async () => {
  tpm = await makeFakeTpm();
  other = verifyCsr(await writeCsr(signerOf(generateKey())));
});

const refuses = (row: Row): Promise<void> =>
  expectRefusal(attestFake(attestorTrusting(tpm.manufacturer.rootPem, row.options), tpm, row), row);

const withAk =
  (akPublic: Uint8Array) =>
  (opening: TpmOpening): TpmOpening => ({ ...opening, akPublic });

/** The area with other attributes. */
function attributed(area: Uint8Array, attributes: number): Uint8Array {
  const changed = Buffer.from(area);
  changed.writeUInt32BE(attributes, 4);
  return changed;
}

const GENUINE = 0x0005_0072;
const akArea = makeAreaKey(AK).area;

const akAttributes: Row[] = [
  {
    name: 'T5 an unrestricted key as the AK',
    status: 'U',
    code: 'ak_attributes',
    says: /AK is not restricted/,
    opening: withAk(makeAreaKey(TPM_KEY).area),
  },
  {
    name: 'T6 an imported software key as the AK (0x50040)',
    status: 'U',
    code: 'ak_attributes',
    says: /AK is not fixed to a TPM/,
    opening: withAk(attributed(akArea, 0x0005_0040)),
  },
  {
    name: 'T6 an AK area too short for attributes',
    status: 'U',
    code: 'ak_attributes',
    says: /AK is not restricted/,
    opening: withAk(akArea.subarray(0, 7)),
  },
];

const template = (name: string, area: Uint8Array, says = /is not the template AK P-256|AK P-256 /): Row => ({
  name,
  status: 'U',
  code: 'ak_template',
  says,
  opening: withAk(area),
});

const ecc = (nameAlg: number, scheme: Uint8Array, curve: number, size: number): Uint8Array =>
  concat(
    u16(0x23),
    u16(nameAlg),
    u32(GENUINE),
    u16(0),
    u16(0x10),
    scheme,
    u16(curve),
    u16(0x10),
    sized(new Uint8Array(size)),
    sized(new Uint8Array(size)),
  );
const rsa = (bits: number, exponent: number): Uint8Array =>
  concat(
    u16(1),
    u16(0x0b),
    u32(GENUINE),
    u16(0),
    u16(0x10),
    u16(0x14),
    u16(0x0b),
    u16(bits),
    u32(exponent),
    sized(new Uint8Array(bits / 8).fill(0xc1)),
  );
const ECDSA_SHA256 = concat(u16(0x18), u16(0x0b));

const akTemplates: Row[] = [
  template(
    'T8 an AK without sensitiveDataOrigin',
    attributed(akArea, GENUINE & ~0x20),
    /: it lacks sensitiveDataOrigin$/,
  ),
  template('T8 an AK without fixedParent', attributed(akArea, GENUINE & ~0x10), /: it lacks fixedParent$/),
  template('T8 an AK that decrypts', attributed(akArea, GENUINE | 0x2_0000), /: it must not have decrypt$/),
  template('T8 an AK with noDA', attributed(akArea, GENUINE | 0x400), /: it must not have noDA$/),
  template('T8 an AK without userWithAuth', attributed(akArea, GENUINE & ~0x40), /: it lacks userWithAuth$/),
  template('T9 nameAlg SHA-1', ecc(0x04, ECDSA_SHA256, 3, 32)),
  template('T9 an unknown curve', ecc(0x0b, ECDSA_SHA256, 0x10, 32)),
  template('T9 P-384', ecc(0x0b, ECDSA_SHA256, 4, 48), /: another hash, policy, scheme or curve$/),
  template('T9 a scheme with SHA-1', ecc(0x0b, concat(u16(0x18), u16(0x04)), 3, 32)),
  template('T9 no scheme', ecc(0x0b, u16(0x10), 3, 32)),
  template('T9 RSA-1024', rsa(1024, 0)),
  template('T9 RSA with exponent 3', rsa(2048, 3)),
  template('T9 a point that is not on the curve', ecc(0x0b, ECDSA_SHA256, 3, 32)),
  template('T9 a coordinate that is too long', ecc(0x0b, ECDSA_SHA256, 3, 33)),
  template('T9 trailing bytes', concat(akArea, u8(0))),
  template('T9 cut short', akArea.subarray(0, -1)),
];

const software = makeAreaKey(AK);
const activation: Row[] = [
  {
    name: 'T7 an AK area that claims fixedTPM for a software key',
    status: 'U',
    code: 'activation_failed',
    says: /the credential was not opened/,
    opening: withAk(software.area),
  },
  {
    name: 'T39 another secret',
    status: 'U',
    code: 'activation_failed',
    says: /the credential was not opened/,
    answer: (a) => ({
      ...a,
      proof: createHmac('sha256', new Uint8Array(32)).update(bindingOf(tpm.proven.spki)).digest(),
    }),
  },
  {
    name: 'T39 no proof at all',
    status: 'U',
    code: 'activation_failed',
    says: /the credential was not opened/,
    answer: (a) => ({ ...a, proof: new Uint8Array() }),
  },
  {
    name: 'T39 the proof with one bit changed',
    status: 'U',
    code: 'activation_failed',
    says: /the credential was not opened/,
    answer: (a) => ({ ...a, proof: Uint8Array.from(a.proof, (byte, i) => (i === 31 ? byte ^ 1 : byte)) }),
  },
];

const withKey =
  (keyPublic: Uint8Array) =>
  (opening: TpmOpening): TpmOpening => ({ ...opening, keyPublic });

const certifiedKeys: Row[] = [
  {
    name: 'T30 an imported software key as the certified key',
    status: 'U',
    code: 'key_attributes',
    says: /is not the template key P-256/,
    tpmKey: true,
    opening: (o) => ({ ...o, keyPublic: attributed(tpm.key.area, 0x0004_0040) }),
  },
  {
    name: 'T31 the AK as the certified key',
    status: 'U',
    code: 'key_attributes',
    says: /is not the template key P-256/,
    tpmKey: true,
    opening: (o) => ({ ...o, keyPublic: o.akPublic }),
  },
  {
    name: 'T31 the EK as the certified key',
    status: 'U',
    code: 'key_attributes',
    says: /is not the template key P-256/,
    tpmKey: true,
    opening: (o) => ({ ...o, keyPublic: o.ekPublic }),
  },
  {
    name: 'T31 a software key where keys must live in the TPM',
    status: 'U',
    code: 'key_attributes',
    says: /keys must live in the TPM here/,
    options: { config: { softwareKeys: false } },
  },
  {
    name: 'T33 the certified key of the TPM is not the key of the request',
    status: 'U',
    code: 'key_binding',
    says: /is not the key of the certificate request/,
    tpmKey: true,
    opening: withKey(makeAreaKey(TPM_KEY).area),
  },
];

test.each([...akAttributes, ...akTemplates, ...activation, ...certifiedKeys])('$name', refuses);

test('a key in the TPM passes where keys must live there', async () => {
  const attestor = attestorTrusting(tpm.manufacturer.rootPem, { config: { softwareKeys: false } });
  expect((await attestFake(attestor, tpm, { tpmKey: true })).attributes).toMatchObject({ key: 'tpm' });
});

test('T31 a request for the AK itself, said to be a software key', async () => {
  const proven = verifyCsr(await writeCsr(signerOf(tpm.ak.privateKey)));
  const says = /to be certified is the attestation key/;
  await refuses({ name: '', status: 'U', code: 'key_attributes', says, proven });
});

test('T31 a request for the EK itself, said to be a software key', async () => {
  const proven = { ...tpm.proven, spki: tpm.ekSpki };
  const says = /to be certified is the endorsement key/;
  await refuses({ name: '', status: 'U', code: 'key_attributes', says, proven });
});

test('T33 a quote that binds one key, a request for another', async () => {
  const quote = (q: Forged): Forged => ({ ...q, extraData: bindingOf(other.spki) });
  await refuses({ name: '', status: 'U', code: 'nonce_mismatch', says: /another nonce or key/, quote });
});

test('T10 the opening has no place for a name of the AK', async () => {
  const rawOpening = (bytes: Uint8Array): Uint8Array => concat(bytes, u32(34), u16(0x0b), new Uint8Array(32));
  await refuses({
    name: '',
    status: 'I',
    code: 'evidence_parse',
    says: /evidence has 38 trailing bytes/,
    rawOpening,
  });
});

test('T10 the credential is for the name that the CA computes, and for no other', async () => {
  let question = new Uint8Array();
  const attestor = attestorTrusting(tpm.manufacturer.rootPem);
  const turn = { now: () => NOW, key: tpm.proven, binding: bindingOf(tpm.proven.spki), peer: undefined };
  const challenge = async (asked: Uint8Array) => {
    question = Uint8Array.from(asked);
    return new Uint8Array();
  };
  await expect(attestor.attest(tpm.opening(false, {}), { ...turn, challenge })).rejects.toThrow(
    'version ends early',
  );
  expect(tpm.activate(question, tpm.ak.name)).toHaveLength(32);
  expect(tpm.activate(question, makeAreaKey(AK).name)).toBeUndefined();
});

test('T39 the answer of another exchange, whole', async () => {
  const attestor = attestorTrusting(tpm.manufacturer.rootPem);
  let old: Uint8Array = new Uint8Array();
  await attestFake(attestor, tpm, { rawAnswer: (answer) => (old = answer) });
  const says = /the credential was not opened/;
  await expectRefusal(attestFake(attestor, tpm, { rawAnswer: () => old }), {
    status: 'U',
    code: 'activation_failed',
    says,
  });
});

const LAST = { clock: 10_000_000n, resetCount: 5, restartCount: 2 };
const counters =
  (now: Partial<Forged>) =>
  (q: Forged): Forged => ({ ...q, ...LAST, ...now });

test.each([
  { name: 'fewer resets', now: { resetCount: 4 }, says: /resets go from 5 to 4/ },
  { name: 'fewer restarts within a reset', now: { restartCount: 1 }, says: /restarts go from 2 to 1/ },
  { name: 'an earlier clock', now: { clock: 9_999_999n }, says: /clock goes from 10000000 to 9999999/ },
  {
    name: 'an earlier clock that is unsafe, without a reset',
    now: { clock: 9_999_999n, safe: 0 },
    says: /clock goes from/,
  },
  {
    name: 'an earlier clock after a reset, said to be safe',
    now: { resetCount: 6, clock: 9_999_999n },
    says: /clock goes/,
  },
  {
    name: 'after a power cut, a clock earlier than one loses',
    now: { resetCount: 6, safe: 0, clock: 10_000_000n - 4_194_305n },
    says: /clock goes from 10000000 to 5805695/,
  },
])('T34 $name', async ({ now, says }) => {
  const states = new Map<string, string>();
  const attestor = attestorTrusting(tpm.manufacturer.rootPem, { memory: memoryOf(states) });
  await attestFake(attestor, tpm, { quote: counters({}) });
  const before = [...states];
  await expectRefusal(attestFake(attestor, tpm, { quote: counters(now) }), {
    status: 'U',
    code: 'rollback',
    says,
  });
  expect([...states]).toEqual(before);
});

test.each([
  { name: 'the same moment', now: {} },
  { name: 'a later clock', now: { clock: 10_000_001n } },
  { name: 'a resume', now: { restartCount: 3 } },
  { name: 'a reset, which starts the restarts anew', now: { resetCount: 6, restartCount: 0 } },
  {
    name: 'a power cut, which loses what was not stored',
    now: { resetCount: 6, restartCount: 0, safe: 0, clock: 10_000_000n - 4_194_304n },
  },
])('T34 passes: $name', async ({ now }) => {
  const states = new Map<string, string>();
  const attestor = attestorTrusting(tpm.manufacturer.rootPem, { memory: memoryOf(states) });
  await attestFake(attestor, tpm, { quote: counters({}) });
  await attestFake(attestor, tpm, { quote: counters(now) });
  const { resetCount, restartCount, clock } = counters(now)({} as Forged);
  expect([...states.values()]).toEqual([`${resetCount}/${restartCount}/${clock}`]);
});

test('a TPM that was refused is not remembered', async () => {
  const states = new Map<string, string>();
  const config = { pcrs: { 0: ['ff'.repeat(32)] } };
  const attestor = attestorTrusting(tpm.manufacturer.rootPem, { memory: memoryOf(states), config });
  await expectRefusal(attestFake(attestor, tpm), { status: 'D', code: 'pcr_policy', says: /^PCR 0 is/ });
  expect(states.size).toBe(0);
});

test.each([
  {
    name: 'another version',
    rawOpening: (b: Uint8Array) => concat(u8(2), b.subarray(1)),
    says: /version 2, 1 is read/,
  },
  { name: 'nothing', rawOpening: () => new Uint8Array(), says: /version ends early/ },
  {
    name: 'a field that is too long',
    rawOpening: () => concat(u8(1), u32(0), u32(1025)),
    says: /EK public area is 1025 bytes, at most 1024/,
  },
])('an opening of $name', async ({ rawOpening, says }) => {
  await refuses({ name: '', status: 'I', code: 'evidence_parse', says, rawOpening });
});
