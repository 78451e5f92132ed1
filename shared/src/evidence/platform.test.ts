import { describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { joinPlatforms, splitPlatforms } from './platform.ts';

describe('names of platforms', () => {
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
  ])('are refused: %s', (_, text, says) => {
    expect(() => splitPlatforms(text)).toThrow(refusal('platform_unknown', says));
  });
});
