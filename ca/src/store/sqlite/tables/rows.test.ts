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

const token = `ghp_${'a1B2'.repeat(9)}`;

test.each([
  ['after a line feed', `the token is\n${token}`, 'the token is\n[masked: GitHub token]'],
  ['after a tab', `a\t${token}\r\n`, 'a\t[masked: GitHub token]\r\n'],
  ['in a URL', `https://${token}@github.com/x.git`, 'https://[masked: GitHub token]@github.com/x.git'],
])('I144 a secret %s is not stored', (_, detail, stored) => {
  const event = { type: 'request.refused', rpc: 'x', code: 'rate', peer: 'y' } as const;
  expect(JSON.parse(textOfEvent({ ...event, detail }))).toEqual({ ...event, detail: stored });
});

test('I144 no part of a secret is stored where a text is cut', () => {
  const detail = `${'a '.repeat(2_030)}${token} ${'b'.repeat(500)}`;
  const text = textOfEvent({ type: 'request.refused', rpc: 'x', code: 'rate', detail, peer: 'y' });
  expect(text).toContain('[masked: GitHub token]');
  expect(text).not.toContain('ghp_');
});
