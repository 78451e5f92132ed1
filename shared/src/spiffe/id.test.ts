import { describe, expect, test } from 'vitest';
import { parseSpiffeId, parseTrustDomain, pathOf, trustDomainId, trustDomainOf } from './id.ts';

const GOOD = 'spiffe://prod.example/ns/default/sa/web';

test('a SPIFFE ID has a trust domain and a path', () => {
  const id = parseSpiffeId(GOOD);
  expect(trustDomainOf(id)).toBe('prod.example');
  expect(pathOf(id)).toBe('/ns/default/sa/web');
  expect(trustDomainId(trustDomainOf(id))).toBe('spiffe://prod.example');
});

test.each([
  ['two dots in a segment', 'spiffe://prod.example/a..b'],
  ['three dots as a segment', 'spiffe://prod.example/...'],
  ['every character', 'spiffe://0.a_b-c/AZaz09._-/x'],
  ['an IPv4 trust domain', 'spiffe://10.0.0.1/x'],
  ['2048 bytes', `spiffe://prod.example/${'a'.repeat(2048 - 22)}`],
  ['a trust domain of 255 bytes', `spiffe://${'a'.repeat(255)}/x`],
])('accepts %s', (_, text) => {
  expect(parseSpiffeId(text)).toBe(text);
});

/** attacks.md I5. */
describe('refuses', () => {
  const trustDomain = /trust domain has characters outside/;
  const path = /path has characters outside/;
  test.each([
    ['upper case in the trust domain', 'spiffe://Prod.example/x', trustDomain],
    ['upper case in the scheme', 'SPIFFE://prod.example/x', /does not start with/],
    ['another scheme', 'https://prod.example/x', /does not start with/],
    ['nothing', '', /does not start with/],
    ['..', 'spiffe://prod.example/a/../b', /relative path segment/],
    ['.', 'spiffe://prod.example/./b', /relative path segment/],
    ['//', 'spiffe://prod.example/a//b', /empty path segment/],
    ['a trailing slash', 'spiffe://prod.example/a/', /empty path segment/],
    ['a root path', 'spiffe://prod.example/', /empty path segment/],
    ['an empty path', 'spiffe://prod.example', /has no path/],
    ['no trust domain', 'spiffe:///a', /trust domain is empty/],
    ['%2F', 'spiffe://prod.example/a%2Fb', path],
    ['unicode in the path', 'spiffe://prod.example/ä', path],
    ['unicode in the trust domain', 'spiffe://pröd.example/a', trustDomain],
    ['a look-alike letter', 'spiffe://prоd.example/a', trustDomain],
    ['a query', 'spiffe://prod.example/a?b=c', path],
    ['a query after the trust domain', 'spiffe://prod.example?b=/c', trustDomain],
    ['a fragment', 'spiffe://prod.example/a#b', path],
    ['a port', 'spiffe://prod.example:443/a', trustDomain],
    ['a user', 'spiffe://root@prod.example/a', trustDomain],
    ['a space', 'spiffe://prod.example/a b', path],
    ['a newline at the end', 'spiffe://prod.example/a\n', path],
    ['a NUL', 'spiffe://prod.example/a\0', path],
    ['a backslash', 'spiffe://prod.example/a\\b', path],
    ['a wildcard', 'spiffe://prod.example/*', path],
    ['2049 bytes', `spiffe://prod.example/${'a'.repeat(2049 - 22)}`, /2049 long, at most 2048/],
    ['a trust domain of 256 bytes', `spiffe://${'a'.repeat(256)}/x`, /256 long, at most 255/],
  ])('%s', (_, text, message) => {
    const refusal = expect.objectContaining({ code: 'spiffe_id', message: expect.stringMatching(message) });
    expect(() => parseSpiffeId(text)).toThrow(refusal);
  });

  test.each([
    ['nothing', '', /is empty/],
    ['a scheme', 'spiffe://prod.example', /: write it without spiffe:\/\/ and without a path$/],
    ['a path', 'prod.example/a', /characters outside/],
    ['upper case', 'PROD', /characters outside .*: "P" in "PROD"$/],
    ['256 bytes', 'a'.repeat(256), /256 long/],
  ])('as a trust domain %s', (_, text, message) => {
    const refusal = expect.objectContaining({
      code: 'trust_domain',
      message: expect.stringMatching(message),
    });
    expect(() => parseTrustDomain(text)).toThrow(refusal);
  });
});
