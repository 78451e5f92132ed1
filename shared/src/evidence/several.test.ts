import { describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { concat, u8, u32, utf8 } from '../ground/bytes.ts';
import { joinNodes, joinPlatforms, packSaid, partsOf, splitPlatforms, unpackSaid } from './several.ts';

describe('names', () => {
  test('are joined in ascending order and split again', () => {
    expect(joinPlatforms(['tpm', 'kubernetes/eu-1'])).toBe('kubernetes/eu-1+tpm');
    expect(splitPlatforms('kubernetes/eu-1+tpm')).toEqual(['kubernetes/eu-1', 'tpm']);
    expect(splitPlatforms('tpm')).toEqual(['tpm']);
  });

  test.each([
    ['nothing', '', /is not one to 4 platform names/],
    ['a name in capitals', 'TPM', /is not one to 4/],
    ['an empty instance', 'kubernetes/', /is not one to 4/],
    ['an instance with a slash', 'kubernetes/a/b', /is not one to 4/],
    ['an instance that ends in a dot', 'kubernetes/a.', /is not one to 4/],
    ['an empty part', 'a++b', /is not one to 4/],
    ['five of them', 'a+b+c+d+e', /is not one to 4/],
    ['another order', 'tpm+kubernetes', /not in ascending order/],
    ['the same twice', 'tpm+tpm', /not in ascending order/],
    ['two of one kind', 'kubernetes/a+kubernetes/b', /are of one kind/],
    ['two whose attributes would have one prefix', 'aws-iam+aws-iam/a', /are of one kind/],
  ])('that are refused: %s', (_, text, says) => {
    expect(() => splitPlatforms(text)).toThrow(refusal('platform_unknown', says));
  });
});

describe('what is said', () => {
  const names = ['a', 'b', 'c'];
  const said = [utf8('x'), undefined, new Uint8Array()];

  test('comes back as it was, silence and the empty string apart', () => {
    expect(unpackSaid(packSaid(said), names)).toEqual(said.map((each) => each && Buffer.from(each)));
  });

  const packed = packSaid(said);
  const field = (bytes: Uint8Array) => concat(u32(bytes.length), bytes);
  test.each([
    ['is for fewer platforms', packSaid(said.slice(0, 2)), /ends early/],
    ['is for more platforms', packSaid([...said, undefined]), /trailing bytes/],
    ['is cut short', packed.subarray(0, -1), /ends early/],
    [
      'begins another way',
      concat(u8(1), field(u8(2)), field(u8(1)), field(u8(1))),
      /^a begins with byte 2, not 1$/,
    ],
    ['is too long', concat(u8(1), u32(2 * 1024 * 1024 + 1)), /a is \d+ bytes, at most/],
  ])('is refused where it %s', (_, bytes, says) => {
    expect(() => unpackSaid(bytes, names)).toThrow(refusal('evidence_parse', says));
  });
});

test('nodes come apart again, whatever they contain', () => {
  const parts = [
    { platform: 'kubernetes/eu-1', node: 'a+b%2B%25' },
    { platform: 'tpm', node: '+' },
  ];
  const node = joinNodes(parts.map((part) => part.node));
  expect(partsOf({ platform: 'kubernetes/eu-1+tpm', node })).toEqual(parts);
  expect(partsOf({ platform: 'tpm', node: 'a+b%2B' })).toEqual([{ platform: 'tpm', node: 'a+b%2B' }]);
});
