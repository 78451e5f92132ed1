import { generateKeyPairSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { masked } from './masked.ts';

const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
  type: 'pkcs8',
  format: 'pem',
});
const token = `${Buffer.from('{"alg":"ES256"}').toString('base64url')}.${Buffer.from('{"sub":"x"}').toString('base64url')}.c2ln`;
const letters = 'aB3'.repeat(20);

const SECRETS: readonly (readonly [string, string])[] = [
  ['private key', String(pem)],
  ['private key', String(pem).slice(0, 80)],
  ['private key', `${String(pem).slice(0, 60)}"quoted" \\ ${letters}`],
  ['JSON Web Token', token],
  ['bearer token', `Bearer ${letters}==`],
  ['AWS access key', 'AKIAIOSFODNN7EXAMPLE'],
  ['AWS secret key', `aws_secret_access_key = ${'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'}`],
  ['GitHub token', `ghp_${letters.slice(0, 36)}`],
  ['GitHub token', `github_pat_${letters.slice(0, 30)}`],
  ['GitLab token', `glpat-${letters.slice(0, 20)}`],
  ['Slack token', `xoxb-${letters.slice(0, 20)}`],
  ['Google API key', `AIza${letters.slice(0, 35)}`],
  ['API key', `sk-proj-${letters.slice(0, 40)}`],
  ['npm token', `npm_${letters.slice(0, 36)}`],
];

test.each(SECRETS)('I144 a %s is masked wherever it stands, and the rest stays JSON', (name, secret) => {
  for (const around of [
    (text: string) => text,
    (text: string) => `the peer said: ${text}`,
    (text: string) => `"${text}"`,
  ]) {
    const event = { type: 'request.refused', detail: around(secret), list: [secret, 'last'], after: 7 };
    const made = masked(JSON.stringify(event));
    const read = JSON.parse(made);
    expect(read).toMatchObject({ type: 'request.refused', after: 7, list: [expect.any(String), 'last'] });
    expect(read.list[0]).toMatch(new RegExp(`^\\[masked: ${name}\\]`));
    for (const part of secret.split(/[\s"\\]+/).filter((each) => each.length > 30))
      expect(made).not.toContain(part);
  }
});

test.each([
  ['an identity', 'spiffe://prod.example/ns/sk-0123456789012345678901234567890123456789'],
  ['a serial number and digests', `${'40231f0be537b1f565b7feff8280814cd5'} ${'ab'.repeat(32)}`],
  ['a sentence about tokens', 'the bearer token is expected in the header; basic constraints are missing'],
  ['a certificate', '-----BEGIN CERTIFICATE-----MIIB'],
  ['a word in a longer one', `x-AKIAIOSFODNN7EXAMPLE ${letters}`],
])('%s stays', (_, text) => {
  expect(masked(JSON.stringify({ text }))).toBe(JSON.stringify({ text }));
});

test('a long text of near misses is looked at in linear time', () => {
  const text = JSON.stringify({ text: '-----BEGIN PRIVATE KEY-----eyJaaaaaaaa.bearer '.repeat(4_000) });
  const begun = performance.now();
  masked(text);
  expect(performance.now() - begun).toBeLessThan(1_000);
});
