import { describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import * as bytes from './bytes.ts';
import { Reader, utf8 } from './bytes.ts';

test('numbers are written big-endian', () => {
  const written = bytes.concat(bytes.u8(1), bytes.u16(0x0203), bytes.u32(0x8405_0607));
  expect(bytes.hex(written)).toBe('01020384050607');
});

test('a length is written before its bytes', () => {
  expect(bytes.hex(bytes.lp(utf8('ab')))).toBe('000000026162');
});

test.each([
  ['the same', 'ab', 'ab', true],
  ['another byte', 'ab', 'ac', false],
  ['a prefix', 'ab', 'abc', false],
  ['nothing', '', '', true],
])('%s are equal or not', (_, a, b, same) => {
  expect(bytes.equal(utf8(a), utf8(b))).toBe(same);
});

test('a view of bytes is printed and wrapped as the view', () => {
  const view = Uint8Array.of(0, 0xfb, 0xff, 0).subarray(1, 3);
  expect([bytes.hex(view), bytes.base64(view), bytes.base64url(view)]).toEqual(['fbff', '+/8=', '-_8']);
  const buffer = bytes.asBuffer(view);
  view[0] = 1;
  expect([...buffer]).toEqual([1, 0xff]);
  expect(bytes.asBuffer(buffer)).toBe(buffer);
});

describe('a reader', () => {
  const genuine = Buffer.from('01020304050607080900000000000a0002616200000001630d', 'hex');

  test('cuts what is there', () => {
    const reader = new Reader(Buffer.concat([Buffer.alloc(3), genuine]).subarray(3), 'evidence_parse');
    expect([reader.u8('a'), reader.u16('b'), reader.u32('c'), reader.u64('d')]).toEqual([
      1,
      0x0203,
      0x0405_0607,
      0x0809_0000_0000_000an,
    ]);
    expect(bytes.hex(reader.sized16('e'))).toBe('6162');
    expect(bytes.hex(reader.sized32('f', 1))).toBe('63');
    expect({ offset: reader.offset, left: reader.left }).toEqual({ offset: 24, left: 1 });
    expect(bytes.hex(reader.take(1, 'g'))).toBe('0d');
    reader.done('all');
  });

  test.each<[string, string, (reader: Reader) => unknown, RegExp]>([
    ['a byte', '', (reader) => reader.u8('it'), /^it ends early: 1 bytes needed, 0 left$/],
    ['two bytes', '01', (reader) => reader.u16('it'), /^it ends early: 2 bytes needed, 1 left$/],
    ['four bytes', '010203', (reader) => reader.u32('it'), /^it ends early: 4 bytes needed, 3 left$/],
    [
      'eight bytes',
      '01020304050607',
      (reader) => reader.u64('it'),
      /^it ends early: 8 bytes needed, 7 left$/,
    ],
    ['bytes', '0102', (reader) => reader.take(3, 'it'), /^it ends early: 3 bytes needed, 2 left$/],
    ['a sized part', '00020a', (reader) => reader.sized16('it'), /^it ends early: 2 bytes needed, 1 left$/],
    [
      'a sized part that is too large',
      '00020a0b',
      (reader) => reader.sized16('it', 1),
      /^it is 2 bytes, at most 1 are read$/,
    ],
    [
      'a long sized part that is too large',
      '000000020a0b',
      (reader) => reader.sized32('it', 1),
      /^it is 2 bytes, at most 1 are read$/,
    ],
    [
      'a length beyond all memory',
      'ffffffff',
      (reader) => reader.sized32('it', 100),
      /^it is 4294967295 bytes, at most 100/,
    ],
    ['the end', '01', (reader) => reader.done('it'), /^it has 1 trailing bytes$/],
  ])('refuses to cut %s', (_, from, cut, message) => {
    expect(() => cut(new Reader(Buffer.from(from, 'hex'), 'attest_parse'))).toThrow(
      refusal('attest_parse', message),
    );
  });
});
