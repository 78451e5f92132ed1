import type { Authority } from '@chancery/proto/gen/chancery/v1/rotation.ts';
import { expect, test } from 'vitest';
import { rowOf } from './authorities.ts';

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
