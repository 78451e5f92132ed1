import { describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { ensure, IdentityError, isRefusal, refusalOf } from './errors.ts';

test('ensure refuses what does not hold, with its code and detail', () => {
  expect(() => ensure(true, 'svid', 'no')).not.toThrow();
  expect(() => ensure(false, 'svid', 'no')).toThrow(refusal('svid', /^no$/));
});

describe('a refusal', () => {
  const error = new IdentityError('svid', 'no');
  test.each<[string, unknown, boolean]>([
    ['ours', error, true],
    [
      'ours from another copy of the module',
      Object.assign(new Error('no'), { name: 'IdentityError', code: 'svid' }),
      true,
    ],
    ['another error with a code', Object.assign(new Error('no'), { code: 'svid' }), false],
    ['one without a code', Object.assign(new Error('no'), { name: 'IdentityError' }), false],
    ['no error at all', { name: 'IdentityError', code: 'svid' }, false],
    ['nothing', undefined, false],
  ])('is told: %s', (_, value, is) => {
    expect(isRefusal(value)).toBe(is);
  });

  test('is told by its code', () => {
    expect([isRefusal(error, 'svid'), isRefusal(error, 'chain')]).toEqual([true, false]);
  });

  test('passes unchanged where a library’s error is wrapped with its cause', () => {
    expect(refusalOf(error, 'chain', 'wrapped')).toBe(error);
    const foreign = new RangeError('out of range');
    expect(refusalOf(foreign, 'chain', 'wrapped')).toEqual(refusal('chain', /^wrapped$/));
    expect(refusalOf(foreign, 'chain', 'wrapped').cause).toBe(foreign);
  });
});
