/** T1, T18 to T24, T26, T28, T29 and T32: what a TPM says, spoiled in one way. */
import { hash } from 'node:crypto';
import type { Statement } from '@chancery/shared/evidence/tpm.ts';
import { concat, u8, u16, u32 } from '@chancery/shared/ground/bytes.ts';
import { beforeAll, expect, test } from 'vitest';
import {
  type FakeTpm,
  type Forged,
  makeAreaKey,
  makeFakeTpm,
  PCR_VALUES,
  signAttest,
  sized,
} from '../../kit/tpm/fake-tpm.ts';
import {
  type AttestorOptions,
  attestFake,
  attestorTrusting,
  type Expected,
  expectRefusal,
  type FakeExchange,
} from '../../kit/tpm/tpm-attestor.ts';

interface Row extends Expected, FakeExchange {
  readonly name: string;
  readonly options?: AttestorOptions;
}

let tpm: FakeTpm;
beforeAll(async () => {
  tpm = await makeFakeTpm();
});

const refuses = (row: Row): Promise<void> =>
  expectRefusal(attestFake(attestorTrusting(tpm.manufacturer.rootPem, row.options), tpm, row), row);

test('the genuine exchange, with a key outside and one in the TPM', async () => {
  const attestor = attestorTrusting(tpm.manufacturer.rootPem);
  const { attributes, ...facts } = await attestFake(attestor, tpm);
  expect(facts).toEqual({ node: hash('sha256', tpm.ekSpki), exclusive: true });
  expect(attributes).toMatchObject({
    ek: facts.node,
    manufacturer: 'id:00001014',
    model: 'fake',
    version: 'id:1',
  });
  expect(attributes).toMatchObject({ key: 'software', pcr0: '00'.repeat(32), pcr7: '07'.repeat(32) });
  expect(Object.keys(attributes)).not.toContain('pcr8');
  expect((await attestFake(attestor, tpm, { tpmKey: true })).attributes).toMatchObject({ key: 'tpm' });
});

const OTHER_AK = makeAreaKey();
const ANOTHER = new Uint8Array(32).fill(9);
/** tpm2_certify cannot be told another. */
const TPM2_TOOLS = Uint8Array.of(0x00, 0xff, 0x55, 0xaa);
const another = /answers another nonce or key/;

const speakers: Row[] = [
  {
    name: 'T1 a quote over an old nonce, in an answer that is otherwise of this exchange',
    status: 'U',
    code: 'nonce_mismatch',
    says: another,
    quote: (q) => ({ ...q, extraData: ANOTHER }),
  },
  {
    name: 'T18 a quote whose signer is another AK',
    status: 'U',
    code: 'ak_mixed',
    says: /by another key than the AK/,
    quote: (q) => ({ ...q, signer: concat(u16(0x0b), ANOTHER) }),
  },
  {
    name: 'T18 a certify whose signer is another AK',
    status: 'U',
    code: 'ak_mixed',
    says: /by another key than the AK/,
    tpmKey: true,
    certify: (c) => ({ ...c, signer: concat(u16(0x0b), ANOTHER) }),
  },
  {
    name: 'T19 a quote signed by another AK',
    status: 'U',
    code: 'sig_invalid',
    says: /the AK did not sign/,
    answer: (a) => ({ ...a, quote: resigned(a.quote) }),
  },
  {
    name: 'T19 a certify signed by another AK',
    status: 'U',
    code: 'sig_invalid',
    says: /the AK did not sign/,
    tpmKey: true,
    answer: (a) => ({ ...a, certify: resigned(a.certify) }),
  },
  {
    name: 'T32 a quote without our binding',
    status: 'U',
    code: 'nonce_mismatch',
    says: another,
    quote: (q) => ({ ...q, extraData: TPM2_TOOLS }),
  },
  {
    name: 'T32 a certify without our binding',
    status: 'U',
    code: 'nonce_mismatch',
    says: another,
    tpmKey: true,
    certify: (c) => ({ ...c, extraData: TPM2_TOOLS }),
  },
];

const resigned = ({ attest }: Statement): Statement => ({
  attest,
  signature: signAttest(attest, OTHER_AK.privateKey),
});

const selectionOf = (...banks: readonly Uint8Array[]): Uint8Array => concat(u32(banks.length), ...banks);
const bank = (alg: number, bitmap: string): Uint8Array =>
  concat(u16(alg), u8(bitmap.length / 2), Buffer.from(bitmap, 'hex'));
const quoteOver = (selection: Uint8Array, values: Uint8Array = new Uint8Array()): ((q: Forged) => Forged) => {
  return (q) => ({ ...q, attested: concat(selection, sized(hash('sha256', values, 'buffer'))) });
};
const valuesFrom = (...indices: readonly number[]): Uint8Array =>
  concat(...indices.map((i) => PCR_VALUES[i] ?? new Uint8Array()));

const pcr = (name: string, selection: Uint8Array, values?: Uint8Array): Row => ({
  name,
  status: 'U',
  code: 'pcr_selection',
  says: /covers another selection than was asked/,
  quote: quoteOver(selection, values),
  answer: (a) => ({ ...a, pcrValues: values ?? new Uint8Array() }),
});

const EIGHT = valuesFrom(0, 1, 2, 3, 4, 5, 6, 7);
const digest = { status: 'U', code: 'pcr_digest', says: /do not hash to the digest/ } as const;

const selections: Row[] = [
  pcr('T20 an empty selection', selectionOf()),
  pcr('T20 the SHA-256 bank with no PCR', selectionOf(bank(0x0b, '000000'))),
  pcr('T21 the SHA-1 bank', selectionOf(bank(0x04, 'ff0000')), EIGHT),
  pcr('T21 an inactive bank', selectionOf(bank(0x0c, 'ff0000'))),
  pcr('T22 the bank twice', selectionOf(bank(0x0b, 'ff0000'), bank(0x0b, 'ff0000')), EIGHT),
  pcr('T22 fewer PCRs', selectionOf(bank(0x0b, '7f0000')), EIGHT.subarray(0, 7 * 32)),
  pcr('T22 more PCRs', selectionOf(bank(0x0b, 'ff0100')), concat(EIGHT, valuesFrom(8))),
  pcr('T22 a longer bitmap of the same PCRs', selectionOf(bank(0x0b, 'ff000000')), EIGHT),
  {
    name: 'T23 a value that was not quoted',
    ...digest,
    answer: (a) => ({ ...a, pcrValues: concat(ANOTHER, EIGHT.subarray(32)) }),
  },
  {
    name: 'T23 the order changed',
    ...digest,
    answer: (a) => ({ ...a, pcrValues: valuesFrom(1, 0, 2, 3, 4, 5, 6, 7) }),
  },
  { name: 'T23 a value left out', ...digest, answer: (a) => ({ ...a, pcrValues: EIGHT.subarray(32) }) },
  { name: 'T23 a value too many', ...digest, answer: (a) => ({ ...a, pcrValues: concat(EIGHT, ANOTHER) }) },
  {
    name: 'T24 values that the policy does not allow',
    status: 'D',
    code: 'pcr_policy',
    says: /^PCR 7 is (07){32}, which is not allowed$/,
    options: { config: { pcrs: { 0: ['00'.repeat(32)], 7: ['08'.repeat(32), '09'.repeat(32)] } } },
  },
  {
    name: 'T24 a PCR beyond the usual ones',
    status: 'D',
    code: 'pcr_policy',
    says: /^PCR 14 is (0e){32}/,
    options: { config: { pcrs: { 14: ['00'.repeat(32)] } } },
  },
];

test('T24 values that the policy allows pass', async () => {
  const config = { pcrs: { 7: ['00'.repeat(32), '07'.repeat(32)], 14: ['0e'.repeat(32)] } };
  const attestor = attestorTrusting(tpm.manufacturer.rootPem, { config });
  expect((await attestFake(attestor, tpm)).attributes).toMatchObject({ pcr14: '0e'.repeat(32) });
});

const type = (name: string, number: number): Row => ({
  name: `T26 ${name} as a quote`,
  status: 'U',
  code: 'attest_type',
  says: new RegExp(`has type ${number.toString(16)}, not quote`),
  quote: (q) => ({ ...q, type: number }),
});

const types: Row[] = [
  type('a certification', 0x8017),
  type('a time statement', 0x8019),
  type('a creation statement', 0x801a),
  type('an NV statement', 0x8014),
  {
    name: 'T26 a quote as a certification',
    status: 'U',
    code: 'attest_type',
    says: /has type 8018, not certify/,
    tpmKey: true,
    answer: (a) => ({ ...a, certify: a.quote }),
  },
  {
    name: 'T26 a certification as the quote',
    status: 'U',
    code: 'attest_type',
    says: /has type 8017, not quote/,
    tpmKey: true,
    answer: (a) => ({ ...a, quote: a.certify }),
  },
];

const signature = (name: string, code: 'sig_alg' | 'sig_invalid', says: RegExp, bytes: Uint8Array): Row => ({
  name: `T28 ${name}`,
  status: 'U',
  code,
  says,
  answer: (a) => ({ ...a, quote: { ...a.quote, signature: bytes } }),
});
const ecdsa = (r: Uint8Array, s: Uint8Array): Uint8Array => concat(u16(0x18), u16(0x0b), sized(r), sized(s));
const ONE = new Uint8Array(32).fill(1);

const signatures: Row[] = [
  signature('no signature (TPM_ALG_NULL)', 'sig_alg', /algorithm 10 is not ECDSA/, u16(0x10)),
  signature(
    'an RSA signature for an ECC key',
    'sig_alg',
    /algorithm 14 is not ECDSA/,
    concat(u16(0x14), u16(0x0b), sized(new Uint8Array(256))),
  ),
  signature(
    'ECDSA with SHA-1',
    'sig_alg',
    /hash 4 is not SHA-256/,
    concat(u16(0x18), u16(0x04), sized(ONE), sized(ONE)),
  ),
  signature('r is zero', 'sig_invalid', /the AK did not sign/, ecdsa(new Uint8Array(32), ONE)),
  signature('s is zero', 'sig_invalid', /the AK did not sign/, ecdsa(ONE, new Uint8Array(32))),
  signature(
    'r and s are empty',
    'sig_invalid',
    /the AK did not sign/,
    ecdsa(new Uint8Array(), new Uint8Array()),
  ),
  signature('r is longer than 32 bytes', 'sig_invalid', /r is 33 bytes/, ecdsa(concat(u8(0), ONE), ONE)),
  signature('s is longer than 32 bytes', 'sig_invalid', /s is 33 bytes/, ecdsa(ONE, concat(u8(0), ONE))),
  signature(
    'trailing bytes',
    'sig_invalid',
    /signature has 1 trailing bytes/,
    concat(ecdsa(ONE, ONE), u8(0)),
  ),
  signature('nothing at all', 'sig_invalid', /signature algorithm ends early/, new Uint8Array()),
];

const certified: Row[] = [
  {
    name: 'T29 a certify that names another key',
    status: 'U',
    code: 'certify_name',
    says: /certifies another key/,
    tpmKey: true,
    certify: (c) => ({ ...c, attested: concat(sized(OTHER_AK.name), sized(OTHER_AK.name)) }),
  },
  {
    name: 'T29 a key in the TPM with no certify',
    status: 'I',
    code: 'attest_parse',
    says: /magic ends early/,
    tpmKey: true,
    answer: (a) => ({ ...a, certify: { attest: new Uint8Array(), signature: new Uint8Array() } }),
  },
];

test.each([...speakers, ...selections, ...types, ...signatures, ...certified])('$name', refuses);
