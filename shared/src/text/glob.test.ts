import { expect, test } from 'vitest';
import { matchGlob } from './glob.ts';

test.each([
  ['a', 'a', true],
  ['a', 'ab', false],
  ['*', '', true],
  ['a*', 'a', true],
  ['a*', 'ba', false],
  ['*a', 'ba', true],
  ['a*a', 'a', false],
  ['a*a', 'aa', true],
  ['a*b*c', 'a1b2c', true],
  ['a*b*c', 'a1c2b', false],
  ['a*bc*c', 'abc', false],
  ['**', 'anything', true],
])('%s over %j: %s', (pattern, text, matches) => {
  expect(matchGlob(pattern, text)).toBe(matches);
});
