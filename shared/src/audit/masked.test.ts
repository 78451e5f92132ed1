import { generateKeyPairSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { masked, mayHaveSecrets } from './masked.ts';

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

/** What may stand before a secret and after it. */
const AROUND: readonly (readonly [string, string])[] = [
  ['', ''],
  ['the peer said: ', ''],
  ['"', '"'],
  ['the token is\n', '\n'],
  ['a\t', '\tb'],
  ['key\r\n', ''],
  ['https://', '@github.com/acme/x.git'],
  ['https://api.example/cb/', ''],
  ['--header=', ''],
  ['clone-', ''],
  ['id_token.', ''],
  ['token%3D', '%26'],
  ['{"body":"{\\n\\"key\\":\\"line\\n', '\\n\\"}"}'],
];

test.each(SECRETS)('I144 a %s is masked wherever it stands, and the rest stays', (name, secret) => {
  for (const [before, after] of AROUND) {
    const detail = `${before}${secret}${after}`;
    const event = { type: 'request.refused', detail, list: [secret, 'last'], after: 7, none: null };
    const made = masked({ ...event, attributes: { [detail]: 'x' } });
    const text = expect.stringContaining(`[masked: ${name}]`);
    expect(made).toEqual({ ...event, detail: text, list: [text, 'last'], attributes: expect.any(Object) });
    expect(mayHaveSecrets(JSON.stringify(event))).toBe(true);
    for (const part of secret.split(/[\s"\\]+/).filter((each) => each.length > 30))
      expect(JSON.stringify(made)).not.toContain(part);
  }
});

test.each([
  ['an identity', 'spiffe://prod.example/ns/sk-0123456789012345678901234567890123456789'],
  ['a serial number and digests', `${'40231f0be537b1f565b7feff8280814cd5'} ${'ab'.repeat(32)}`],
  ['a sentence about tokens', 'the bearer token is expected in the header; basic constraints are missing'],
  ['a certificate', '-----BEGIN CERTIFICATE-----MIIB'],
  ['a word in a longer one', `disk-${letters} xAKIA${letters} ${letters}`],
])('%s stays', (_, text) => {
  expect(masked({ text })).toEqual({ text });
});

test.each([
  ['of all', '-----BEGIN PRIVATE KEYeyJaaaaaaaa.bearer '],
  ['of one run', 'eyJ'],
  ['of tokens without an end', 'eyJaaaaaaaa.eyJaaaaaaaa '],
  ['of short parts', 'eyJ.'],
  ['of long parts', `eyJ${'aeyJ'.repeat(200)}.a.`],
])('a long text of near misses %s is looked at in linear time', (_, part) => {
  const text = part.repeat(200_000 / part.length);
  const begun = performance.now();
  expect(masked(text)).toBe(text);
  expect(performance.now() - begun).toBeLessThan(1_000);
});
