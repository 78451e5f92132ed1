import type { Authority } from '@chancery/proto/gen/chancery/v1/rotation.ts';
import { describe, expect, test } from 'vitest';
import { crossLine, rowOf } from './authorities.ts';
import { linkText } from './offline.ts';

const authority: Authority = {
  ...{
    serial: '40aa',
    kind: 'root',
    algorithm: 'ecdsa-p256',
    keyId: 'ab',
    keySha256: 'cd',
    keyReference: '40aa',
  },
  ...{
    state: 'active',
    keyHome: 'file',
    movedAt: 0n,
    notAfter: 0n,
    held: undefined,
    crossUntil: 0n,
    crossIssuer: '',
    toRevokeAbove: '',
  },
};

test.each([
  ['active', 'file', 'file'],
  ['retiring', 'standby', 'standby'],
  ['removed', 'file', '-'],
  ['removed', 'standby', '-'],
  ['tainted', 'file', '-'],
  ['removed', 'pkcs11', 'pkcs11'],
])('the key of an authority that is %s, in the home %s, is in: %s', (state, keyHome, where) => {
  expect(rowOf({ ...authority, state, keyHome })[6]).toBe(where);
});

describe('what a CA above has certified', () => {
  const certified = { ...authority, crossUntil: 100n, crossIssuer: 'CN=Corp\u202egro' };
  const stolen = 'the CA above must revoke 17 of CN=Corp\u009b';

  test.each([
    ['active', '', /^root 40aa is certified from above, by CN=Corp[ -~]*gro, until 1970/],
    ['removed', '', /^root 40aa was removed, and was certified from above, by CN=Corp[ -~]*gro, until 1970/],
    ['tainted', stolen, /^the CA above must revoke 17 of CN=Corp[ -~]+$/],
  ])('of a root that is %s, is printable', (state, toRevokeAbove, says) => {
    expect(crossLine({ ...certified, state, toRevokeAbove }, 50n)).toMatch(says);
  });

  test('is printable where it is imported', () => {
    expect(linkText({ subject: 'CN=Corp\u202egro', issuer: 'CN=\u009bx' })).toMatch(/^CN=Corp[ -~]+$/);
  });
});
