/** Where the key of a root is that stands by, or has stood by. */
import { expect, test } from 'vitest';
import type { AuthorityRecord } from '../store/store.ts';
import { homeOf } from './standby-keys.ts';

const root = (more: object) =>
  ({ kind: 'root', key: { home: 'standby', reference: '40' }, standby: true, ...more }) as AuthorityRecord;

test.each<[string, object, string]>([
  ['a root that stands by', { state: 'published' }, 'standby'],
  ['one that has stood by and signs', { state: 'active' }, 'file'],
  ['one that retires', { state: 'retiring', standby: false }, 'file'],
  ['any other root', { state: 'active', key: { home: 'pkcs11', reference: 'a' } }, 'pkcs11'],
])('the key of %s is where it says', (_, more, home) => {
  expect(homeOf(root(more))).toBe(home);
});
