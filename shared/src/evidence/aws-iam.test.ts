import { expect, test } from 'vitest';
import { concat, u8, u32 } from '../ground/bytes.ts';
import {
  packStsAnswer,
  packStsQuestion,
  type StsAnswer,
  unpackStsAnswer,
  unpackStsQuestion,
} from './aws-iam.ts';

const answer: StsAnswer = {
  region: 'eu-west-1',
  date: '20261120T101112Z',
  credential: 'ASIAABCDEFGHIJKLMNOP/20261120/eu-west-1/sts/aws4_request',
  sessionToken: 'IQoJb3JpZ2lu+/=',
  signature: Buffer.alloc(32, 7),
};

test('what is packed is unpacked', () => {
  expect(unpackStsQuestion(packStsQuestion('fips'))).toBe('fips');
  expect(unpackStsAnswer(packStsAnswer(answer))).toEqual(answer);
});

test('what is read is written again byte for byte, whatever it is', () => {
  const all = Uint8Array.from({ length: 256 }, (_, at) => at);
  const packed = concat(u8(1), u32(0), u32(0), u32(256), all, u32(0), u32(0));
  expect(packStsAnswer(unpackStsAnswer(packed))).toEqual(packed);
});

test.each([
  { name: 'another version', bytes: concat(u8(2), packStsAnswer(answer).subarray(1)), says: 'has version 2' },
  { name: 'a trailing byte', bytes: concat(packStsAnswer(answer), u8(0)), says: '1 trailing bytes' },
  { name: 'cut short', bytes: packStsAnswer(answer).subarray(0, -1), says: 'ends early' },
])('$name refuses', ({ bytes, says }) => {
  expect(() => unpackStsAnswer(bytes)).toThrow(expect.objectContaining({ code: 'evidence_parse' }));
  expect(() => unpackStsAnswer(bytes)).toThrow(says);
});

test.each([
  { what: 'region', before: 0, max: 32, code: 'sts_host' },
  { what: 'date', before: 1, max: 16, code: 'sts_date' },
  { what: 'credential', before: 2, max: 256, code: 'evidence_parse' },
  { what: 'session token', before: 3, max: 8192, code: 'evidence_parse' },
  { what: 'signature', before: 4, max: 32, code: 'evidence_parse' },
])('a longer $what is refused by its length alone', ({ what, before, max, code }) => {
  const bytes = concat(u8(1), ...Array.from({ length: before }, () => u32(0)), u32(max + 1));
  expect(() => unpackStsAnswer(bytes)).toThrow(expect.objectContaining({ code }));
  expect(() => unpackStsAnswer(bytes)).toThrow(`${what} is ${max + 1} bytes, at most ${max} are read`);
});
