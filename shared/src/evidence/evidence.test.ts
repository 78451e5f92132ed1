import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { concat, u8, u32, utf8 } from '../ground/bytes.ts';
import { attestationBinding } from './binding.ts';
import {
  packAnswer,
  packOpening,
  packQuestion,
  type TpmAnswer,
  type TpmOpening,
  type TpmQuestion,
  unpackAnswer,
  unpackOpening,
  unpackQuestion,
} from './tpm.ts';

describe('the binding', () => {
  const nonce = new Uint8Array(32).fill(1);
  const spki = utf8('a key');

  test('is the hash that the design gives', () => {
    const key = createHash('sha256').update('a key').digest();
    const expected = createHash('sha256')
      .update('chancery-attest-v1')
      .update(Buffer.from('0000000c', 'hex'))
      .update('test.example')
      .update(Buffer.from('00000020', 'hex'))
      .update(nonce)
      .update(Buffer.from('00000020', 'hex'))
      .update(key)
      .digest();
    expect(attestationBinding('test.example', nonce, spki)).toEqual(expected);
  });

  test('differs in each of its parts, and where two parts shift their border', () => {
    const bindings = [
      attestationBinding('test.example', nonce, spki),
      attestationBinding('test.example2', nonce, spki),
      attestationBinding('test.example', new Uint8Array(32).fill(2), spki),
      attestationBinding('test.example', nonce, utf8('another key')),
      attestationBinding('test.exampl', concat(utf8('e'), nonce), spki),
    ];
    expect(new Set(bindings.map(String)).size).toBe(bindings.length);
  });
});

const some = (length: number): Uint8Array => Buffer.alloc(length, length);
const opening: TpmOpening = {
  ekCertificate: some(900),
  ekPublic: some(314),
  akPublic: some(88),
  keyPublic: some(0),
  eventLog: some(5000),
  ekChain: some(3000),
};
const question: TpmQuestion = { credential: some(68), encryptedSeed: some(256), selection: some(10) };
const answer: TpmAnswer = {
  proof: some(32),
  quote: { attest: some(145), signature: some(72) },
  pcrValues: some(256),
  certify: { attest: some(161), signature: some(71) },
};

test('what is packed is unpacked', () => {
  expect(unpackOpening(packOpening(opening))).toEqual(opening);
  expect(unpackQuestion(packQuestion(question))).toEqual(question);
  expect(unpackAnswer(packAnswer(answer))).toEqual(answer);
});

const messages = [
  { name: 'opening', packed: packOpening(opening), unpack: unpackOpening },
  { name: 'question', packed: packQuestion(question), unpack: unpackQuestion },
  { name: 'answer', packed: packAnswer(answer), unpack: unpackAnswer },
];

describe.each(messages)('an $name', ({ packed, unpack }) => {
  test.each([
    {
      name: 'of another version',
      bytes: concat(u8(2), packed.subarray(1)),
      says: 'evidence has version 2, 1 is read',
    },
    { name: 'with a trailing byte', bytes: concat(packed, u8(0)), says: 'evidence has 1 trailing bytes' },
    { name: 'cut short', bytes: packed.subarray(0, -1), says: 'ends early' },
    { name: 'without a field', bytes: packed.subarray(0, 1), says: 'ends early' },
  ])('$name refuses', ({ bytes, says }) => {
    expect(() => unpack(bytes)).toThrow(expect.objectContaining({ code: 'evidence_parse' }));
    expect(() => unpack(bytes)).toThrow(says);
  });
});

const CODES: Record<string, string> = {
  'EK certificate': 'ek_encoding',
  'EK certificate chain': 'ek_encoding',
  'event log': 'eventlog_size',
};

test.each([
  { what: 'EK certificate', before: [], unpack: unpackOpening, max: 8192 },
  { what: 'EK public area', before: [0], unpack: unpackOpening, max: 1024 },
  { what: 'AK public area', before: [0, 0], unpack: unpackOpening, max: 1024 },
  { what: 'key public area', before: [0, 0, 0], unpack: unpackOpening, max: 1024 },
  { what: 'event log', before: [0, 0, 0, 0], unpack: unpackOpening, max: 1024 * 1024 },
  { what: 'EK certificate chain', before: [0, 0, 0, 0, 0], unpack: unpackOpening, max: 16 * 1024 },
  { what: 'credential', before: [], unpack: unpackQuestion, max: 256 },
  { what: 'encrypted seed', before: [0], unpack: unpackQuestion, max: 512 },
  { what: 'PCR selection', before: [0, 0], unpack: unpackQuestion, max: 64 },
  { what: 'proof of the credential', before: [], unpack: unpackAnswer, max: 32 },
  { what: 'PCR values', before: [0, 0, 0], unpack: unpackAnswer, max: 768 },
])('a longer $what is refused by its length alone', ({ what, before, unpack, max }) => {
  const bytes = concat(u8(1), ...before.map(u32), u32(max + 1));
  expect(() => unpack(bytes)).toThrow(expect.objectContaining({ code: CODES[what] ?? 'evidence_parse' }));
  expect(() => unpack(bytes)).toThrow(`${what} is ${max + 1} bytes, at most ${max} are read`);
});
