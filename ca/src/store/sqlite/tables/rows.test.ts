import { expect, test } from 'vitest';
import { refusal } from '../../../../../test/kit/refusal.ts';
import { authorityOf, issuanceOf, textOfEvent } from './rows.ts';

const row = {
  serial: Buffer.from([0x40]),
  id: 'spiffe://prod.example/web',
  platform: 'tpm',
  node: 'a',
  identity: 'web',
  key_sha256: Buffer.alloc(32),
  issuer: Buffer.from([0x41]),
  not_before: 0,
  not_after: 60_000,
  recorded_at: 1000,
  origin: null,
  succeeds: null,
  bundle: 0,
};

const standing = { kind: 'root', state: 'active', algorithm: 'ecdsa-p256', sequence: 1 };

test('a row is read', () => {
  expect(issuanceOf(row)).toMatchObject({ serial: '40', issuer: '41', notAfter: new Date(60_000) });
});

test.each([
  [
    'a serial that is no bytes',
    () => issuanceOf({ ...row, serial: '40' }),
    'store',
    /^column serial is not bytes$/,
  ],
  [
    'an origin that is no bytes',
    () => issuanceOf({ ...row, origin: '40' }),
    'store',
    /^column origin is not bytes$/,
  ],
  ['an ID that is none', () => issuanceOf({ ...row, id: 'web' }), 'spiffe_id', /does not start/],
  [
    'a certificate that is missing',
    () => authorityOf({ ...row, ...standing }),
    'store',
    /^column certificate is not bytes$/,
  ],
  [
    'an unknown kind',
    () => authorityOf({ ...row, ...standing, kind: 'leaf' }),
    'store',
    /^authority kind leaf$/,
  ],
  [
    'an unknown state',
    () => authorityOf({ ...row, ...standing, state: 'toString' }),
    'store',
    /^authority state toString$/,
  ],
  [
    'an unknown algorithm',
    () => authorityOf({ ...row, ...standing, algorithm: 'rsa' }),
    'store',
    /^authority algorithm rsa$/,
  ],
] as const)('a damaged row is refused: %s', (_, read, code, message) => {
  expect(read).toThrow(refusal(code, message));
});

test('I144 a secret in the words of a peer is not stored, also where its text is cut', () => {
  const key = `-----BEGIN PRIVATE KEY-----\n${'aB3\n'.repeat(2_000)}`;
  const detail = `no such method ${key}`;
  const text = textOfEvent({ type: 'request.refused', rpc: 'x', code: 'rate', detail, peer: 'y' });
  expect(JSON.parse(text)).toMatchObject({
    detail: expect.stringMatching(/^no such method \[masked: private key\]$/),
  });
});
