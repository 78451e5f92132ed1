import { describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { concat, u8, u32, utf8 } from '../ground/bytes.ts';
import { packPieces, unpackPieces } from './pieces.ts';

describe('pieces', () => {
  const names = ['a', 'b', 'c'];
  const pieces = [utf8('x'), undefined, new Uint8Array()];

  test('are unpacked as they were packed; no piece and an empty one differ', () => {
    expect(unpackPieces(packPieces(pieces), names)).toEqual(pieces.map((each) => each && Buffer.from(each)));
  });

  const packed = packPieces(pieces);
  const field = (bytes: Uint8Array) => concat(u32(bytes.length), bytes);
  test.each([
    ['for fewer platforms', packPieces(pieces.slice(0, 2)), /ends early/],
    ['for more platforms', packPieces([...pieces, undefined]), /trailing bytes/],
    ['cut short', packed.subarray(0, -1), /ends early/],
    [
      'that begin another way',
      concat(u8(1), field(u8(2)), field(u8(1)), field(u8(1))),
      /^a begins with byte 2, not 1$/,
    ],
    ['too long', concat(u8(1), u32(2 * 1024 * 1024 + 1)), /a is \d+ bytes, at most/],
  ])('are refused: %s', (_, bytes, says) => {
    expect(() => unpackPieces(bytes, names)).toThrow(refusal('evidence_parse', says));
  });
});
