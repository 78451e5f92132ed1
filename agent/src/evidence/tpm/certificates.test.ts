import { concat, hex, u8, u16 } from '@chancery/shared/ground/bytes.ts';
import { describe, expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { cutChain, cutDer } from './certificates.ts';

/** A SEQUENCE of 300 bytes. */
const der = (fill: number): Uint8Array => concat(u16(0x3082), u16(300), new Uint8Array(300).fill(fill));
const stored = (size: number, ...inner: readonly Uint8Array[]): Uint8Array =>
  concat(u16(0x1001), u8(0), u16(size), ...inner);
const filling = new Uint8Array(40).fill(0xff);

describe('a certificate in NV memory', () => {
  test.each<[string, Uint8Array]>([
    ['alone', der(1)],
    ['with filling behind it', concat(der(1), filling)],
    ['behind the header of the TCG', stored(304, der(1))],
    ['behind both headers of the TCG, with filling', concat(stored(306, u16(0x1002), der(1)), filling)],
  ])('%s', (_, bytes) => {
    expect(hex(cutDer(bytes))).toBe(hex(der(1)));
  });

  test.each<[string, Uint8Array, RegExp]>([
    ['nothing', new Uint8Array(), /not DER/],
    ['a header alone', stored(0), /not DER/],
    ['text', Buffer.from('-----BEGIN'), /not DER/],
    ['half a certificate', der(1).subarray(0, 200), /cut short/],
  ])('%s is refused', (_, bytes, says) => {
    expect(() => cutDer(bytes)).toThrow(refusal('tpm_device', says));
  });
});

test.each<[string, readonly Uint8Array[], number]>([
  ['none', [], 0],
  ['blank', [filling, new Uint8Array(20)], 0],
  ['one behind the other', [der(1), der(2)], 2],
  ['with filling between and behind', [der(1), filling, der(2), new Uint8Array(7)], 2],
  ['the last one cut short', [der(1), der(2).subarray(0, 100)], 1],
  ['something else', [Buffer.from('text'), der(1)], 0],
])('a chain in NV memory: %s', (_, pieces, count) => {
  expect(cutChain(concat(...pieces)).map(hex)).toEqual([der(1), der(2)].slice(0, count).map(hex));
});
