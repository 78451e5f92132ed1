import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { expect, test } from 'vitest';
import { reasonOf } from './reason.ts';

const coded = (code: string): Error => Object.assign(new Error('connect X 10.0.0.1:5'), { code });

test.each<[string, unknown, string]>([
  ['a refusal in its own words', new IdentityError('wrong_peer', 'the peer is x'), 'the peer is x'],
  ['a known failure in words', coded('ECONNREFUSED'), 'the connection was refused (ECONNREFUSED)'],
  ['one that is not known by its code', coded('EODD'), 'the connection failed (EODD)'],
  [
    'large headers',
    coded('HPE_HEADER_OVERFLOW'),
    'the headers of its answer are too large (HPE_HEADER_OVERFLOW)',
  ],
  ['what is not HTTP', coded('HPE_INVALID_CONSTANT'), 'it does not speak HTTP (HPE_INVALID_CONSTANT)'],
  ['a failure without a code', new Error('10.0.0.1'), 'the connection failed'],
  ['something else', '10.0.0.1', 'the connection failed'],
])('says %s, and no address', (_name, error, says) => {
  expect(reasonOf(error)).toBe(says);
});
