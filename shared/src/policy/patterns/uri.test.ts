import { describe, expect, test } from 'vitest';
import { alwaysExpandsTo, canExpandTo, compileUriPattern, whyNoUri } from './uri.ts';

describe('compileUriPattern', () => {
  test.each([
    ['file:///srv/a.md', 'file:///srv/a.md', true],
    ['file:///srv/a.md', 'file:///srv/a.md2', false],
    ['file:///srv/a.md', 'file:///srv/aXmd', false],
    ['file:///srv/*', 'file:///srv/a/b', true],
    ['file:///srv/*', 'file:///srv2/a', false],
    ['file://*', 'file:///srv/a', true],
    ['*', 'x:y', true],
    ['https://*.example/a', 'https://x.example/a', true],
    ['repo://{owner}/{name}', 'repo://acme/x', true],
    ['repo://{owner}/{name}', 'repo://acme/x%2Fy', true],
    ['repo://{owner}/{name}', 'repo://acme/x/y', false],
    ['repo://{owner}/{name}', 'repo://acme/', false],
    ['repo://{owner}/{name}', 'repo://acme/x?y', false],
    ['repo://{owner}/*', 'repo://acme/x/y', true],
    ['repo://a.b/{n}', 'repo://aXb/c', false],
    ['/(file|repo):.+/', 'repo://acme/x', true],
    ['/file:/', 'file:///x', false],
  ])('%s on %s: %s', (pattern, uri, expected) => {
    expect(compileUriPattern(pattern).matches(uri)).toBe(expected);
  });

  test.each([
    ['', /has no scheme/],
    ['srv/a', /has no scheme/],
    ['FILE:///srv/*', /upper-case letters/],
    ['https://Prod.example/*', /host with upper-case/],
    ['https://prod.example:443/*', /has a port/],
    ['https://me@prod.example/*', /user information/],
    ['file:///srv/../*', /dot segment/],
    ['file:///a#*', /fragment/],
    ['file:///caf\u00e9', /no URI has/],
    ['file:///a b', /no URI has/],
    ['repo://{+path}', /level 1/],
    ['repo://{?q}', /level 1/],
    ['repo://{a', /level 1/],
    ['repo://{}', /level 1/],
    ['/(/', /not an RE2 regex/],
    ['/file', /between two slashes/],
    [`x:${'y'.repeat(511)}`, /longer than 512/],
  ])('refuses %s', (pattern, message) => {
    expect(() => compileUriPattern(pattern)).toThrow(
      expect.objectContaining({ code: 'policy', message: expect.stringMatching(message) }),
    );
  });
});

test.each([
  'file:///',
  'file:///srv/a.md',
  'file:///srv/..a/b...',
  'https://prod.example/',
  'https://prod.example:8443/a?b=c&d=/../e',
  'http://[::1]:8080/x',
  'repo://acme/x%2Fy',
  'demo://resource/dynamic/text/1',
  'urn:isbn:0451450523',
  'config://app',
  'a+b.c-d:x',
  'x:a%3Ab',
  `x:${'y'.repeat(2_046)}`,
])('%s can be allowed', (uri) => {
  expect(whyNoUri(uri)).toBeUndefined();
});

test.each([
  ['', /no scheme/],
  ['/etc/passwd', /no scheme/],
  ['1a:b', /no scheme/],
  ['File:///a', /scheme with upper-case/],
  ['file:///a#b', /fragment/],
  ['file:///a b', /characters that no URI has/],
  ['file:///a\\b', /characters that no URI has/],
  ['file:///a\n', /characters that no URI has/],
  ['https://b\u00fccher.example/', /characters that no URI has/],
  ['file:///a%2', /two upper-case hexadecimal/],
  ['file:///a%2f', /two upper-case hexadecimal/],
  ['file:///%61', /need no encoding/],
  ['file:///a/%2E%2E/b', /need no encoding/],
  ['file:///a%2D', /need no encoding/],
  ['file:///a%5F', /need no encoding/],
  ['file:///a%7E', /need no encoding/],
  ['file:///a%00', /cannot be seen/],
  ['file:///a%7F', /cannot be seen/],
  ['file:///%252E%252E/a', /encoded twice/],
  ['file:///a/../b', /dot segment/],
  ['file:///a/./b', /dot segment/],
  ['file:///a/..', /dot segment/],
  ['file:///a/..%2Fb', /dot segment/],
  ['file:///a/..%5Cb', /dot segment/],
  ['x:../b', /dot segment/],
  ['https://prod.example/../a?b', /dot segment/],
  ['https://me@prod.example/', /user information/],
  ['https://Prod.example/', /host with upper-case/],
  ['https://xn--b%C3%BC.example/', /in another encoding/],
  ['https://prod.example./', /dot at its end/],
  ['https://prod.example:443/', /port/],
  ['http://prod.example:80/', /port/],
  ['https://prod.example:/', /port/],
  ['https://prod.example:08443/', /port/],
  ['https://a:b:8443/', /no valid host/],
  ['https://[::1/', /no valid host/],
  ['https://prod.example', /with a host and a path/],
  ['https:/prod.example/', /with a host and a path/],
  ['https:///a', /with a host and a path/],
  ['file:/srv/a', /not file:\/\/\//],
  ['file://localhost/srv/a', /not file:\/\/\//],
  ['file:///srv//a', /not file:\/\/\//],
  ['file:////srv/a', /not file:\/\/\//],
  ['file:///a[b]', /brackets/],
  [`x:${'y'.repeat(2_047)}`, /has 2049 characters/],
])('%s cannot be allowed', (uri, message) => {
  expect(whyNoUri(uri)).toMatch(message);
});

test.each([
  ['file:///srv/*', 'file:///{path}', true, false],
  ['file:///srv/*', 'file:///srv/{path}', true, true],
  ['file:///srv/*', 'file:///etc/{path}', false, false],
  ['file:///srv/*', '{+uri}', true, false],
  ['file:///srv/a', 'file:///srv/{path}', true, false],
  ['file:///srv', 'file:///srv/{path}', false, false],
  ['repo://{a}/x', 'repo://{owner}/{name}', true, false],
  ['repo://{owner}/{name}', 'repo://{owner}/{name}', true, true],
  ['/file:.*/', 'repo://{owner}', true, false],
  ['*', 'x:{y}', true, true],
  ['*.md', 'x:{y}', true, false],
  ['x:*.md*', 'x:{y}', true, false],
])('%s of template %s: can %s, always %s', (pattern, template, can, always) => {
  expect([canExpandTo(pattern, template), alwaysExpandsTo(pattern, template)]).toEqual([can, always]);
});
