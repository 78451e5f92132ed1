import { silentLog } from '@chancery/shared/ground/log.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import { revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { keyNameOf } from '@chancery/shared/x509/verify/svid.ts';
import { describe, expect, test } from 'vitest';
import { makeAuthority } from '../../../test/kit/certificates.ts';
import { acceptBundle, ensureUntainted, followBundle, isSameBundle } from './accept.ts';

const trustDomain = parseTrustDomain('prod.example');
const [a, b, c] = ['a', 'b', 'c'].map((name) => makeAuthority(name).certificate.der) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
];
const bundleOf = (...authorities: readonly Uint8Array[]): Bundle => ({
  trustDomain,
  authorities,
  sequence: 1n,
});

test.each([
  ['the same', bundleOf(a, b), bundleOf(a, b)],
  ['the same in another order', bundleOf(a, b), bundleOf(b, a)],
  ['one more', bundleOf(a), bundleOf(a, b)],
  ['one fewer', bundleOf(a, b), bundleOf(b)],
])('%s is accepted', (_, known, next) => {
  expect(acceptBundle(known, next)).toBe(next);
});

test.each([
  {
    name: 'another trust domain’s',
    next: { ...bundleOf(a, b), trustDomain: parseTrustDomain('test.example') },
    code: 'bundle',
    says: 'bundle is of test.example, not prod.example',
  },
  { name: 'one without authorities', next: bundleOf(), code: 'bundle', says: 'no authorities' },
  { name: 'quite another', next: bundleOf(c), code: 'bundle', says: 'both adds and removes' },
  { name: 'one that adds and removes', next: bundleOf(b, c), code: 'bundle', says: 'both adds and removes' },
  {
    name: 'one that adds something that is not a certificate',
    next: bundleOf(a, b, Buffer.from('no certificate')),
    code: 'certificate_parse',
    says: '',
  },
])('$name is refused', ({ next, code, says }) => {
  expect(() => acceptBundle(bundleOf(a, b), next)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(says) }),
  );
});

test('one with a key of a tainted authority is refused, in whatever certificate it is (I103)', () => {
  const stolen = makeAuthority('stolen');
  const again = makeAuthority('again', undefined, { key: stolen.key });
  const value = keyNameOf(stolen.certificate);
  const revoked = { number: 1, target: { kind: 'authority', value }, serials: [], until: undefined } as const;
  const set = revocationSet([{ ...revoked, reason: 'keyCompromise' } as const], 2n);
  for (const { certificate } of [stolen, again])
    expect(() => ensureUntainted(bundleOf(a, certificate.der), set)).toThrow(
      expect.objectContaining({ code: 'bundle', message: 'bundle has an authority whose key is revoked' }),
    );
  expect(ensureUntainted(bundleOf(a, b), set)).toEqual(bundleOf(a, b));
});

test.each([
  ['one more', bundleOf(a, b, c), 1, 0],
  ['one fewer', bundleOf(a), 1, 0],
  ['the same', bundleOf(b, a), 0, 0],
  ['quite another', bundleOf(c), 0, 1],
  ['none', bundleOf(), 0, 1],
])('%s is accepted, or rejected with one log line', (_, next, published, told) => {
  const known = bundleOf(a, b);
  const live = new LiveValue<Bundle>(() => new Error('none'), known);
  const heard: Bundle[] = [];
  const errors: object[] = [];
  live.onChange((bundle) => heard.push(bundle));
  const failure = followBundle(live, next, { ...silentLog, error: (fields) => errors.push(fields) });
  expect(failure !== undefined).toBe(told === 1);
  expect([heard.length, errors.length]).toEqual([published, told]);
  expect(live.current()).toBe(published === 1 ? next : known);
});

describe('the same bundle', () => {
  test.each([
    ['itself', bundleOf(a, b), true],
    ['in another order', bundleOf(b, a), true],
    ['with one more', bundleOf(a, b, c), false],
    ['with one fewer', bundleOf(a), false],
    ['of another sequence', { ...bundleOf(a, b), sequence: 2n }, false],
  ])('%s', (_, other, same) => {
    expect(isSameBundle(bundleOf(a, b), other)).toBe(same);
  });
});
