import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../spiffe/id.ts';
import { Memo } from '../memo.ts';
import { compareSpiffePattern, compileSpiffePattern } from './spiffe.ts';
import { compileToolPattern } from './tool.ts';

describe('compileSpiffePattern', () => {
  test.each([
    ['spiffe://td/app', 'spiffe://td/app', true],
    ['spiffe://td/app', 'spiffe://td/app-evil', false],
    ['spiffe://td/app', 'spiffe://td/app/x', false],
    ['spiffe://td/app', 'spiffe://td2/app', false],
    ['spiffe://td/*', 'spiffe://td/app', true],
    ['spiffe://td/*', 'spiffe://td/app/x', false],
    ['spiffe://td/*', 'spiffe://td.evil/app', false],
    ['spiffe://td/*/b', 'spiffe://td/a/b', true],
    ['spiffe://td/*/b', 'spiffe://td/a/c', false],
    ['spiffe://td/app/**', 'spiffe://td/app/x/y', true],
    ['spiffe://td/app/**', 'spiffe://td/app', false],
    ['spiffe://td/app/**', 'spiffe://td/app-evil/x', false],
    ['spiffe://td/**', 'spiffe://td/x', true],
    ['spiffe://td/*/x/**', 'spiffe://td/a/x/b', true],
    ['spiffe://td/*/x/**', 'spiffe://td/a/y/b', false],
  ])('%s on %s: %s', (pattern, id, expected) => {
    expect(compileSpiffePattern(pattern)(parseSpiffeId(id))).toBe(expected);
  });

  test.each([
    ['*', 'policy', /trust domain is a wildcard/],
    ['**', 'spiffe_id', /./],
    ['spiffe://*/app', 'policy', /trust domain is a wildcard/],
    ['spiffe://**/app', 'policy', /not the last segment/],
    ['spiffe://td/**/x', 'policy', /not the last segment/],
    ['spiffe://td/tri*', 'spiffe_id', /./],
    ['spiffe://td/a//b', 'spiffe_id', /./],
    ['spiffe://td/a/', 'spiffe_id', /./],
    ['spiffe://TD/a', 'spiffe_id', /./],
    ['https://td/a', 'spiffe_id', /./],
    ['', 'spiffe_id', /./],
  ])('refuses %s', (pattern, code, message) => {
    expect(() => compileSpiffePattern(pattern)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });
});

test('of two patterns one covers the other, or they overlap, as their SPIFFE IDs say', () => {
  const words = ['a', 'b', '*'];
  const paths = words.flatMap((one) => [
    one,
    ...words.flatMap((two) => [`${one}/${two}`, ...words.map((three) => `${one}/${two}/${three}`)]),
  ]);
  const patterns = ['**', ...paths, ...paths.map((path) => `${path}/**`)].map(
    (path) => `spiffe://td/${path}`,
  );
  // Long enough, and with a word of no pattern, so that none of them tells two patterns apart by chance.
  const letters = ['a', 'b', 'x'];
  let ids = letters;
  const all = [...ids];
  for (let length = 2; length <= 5; length += 1) {
    ids = ids.flatMap((path) => letters.map((letter) => `${path}/${letter}`));
    all.push(...ids);
  }
  const matched = patterns.map((pattern) => {
    const matches = compileSpiffePattern(pattern);
    return all.map((path) => matches(parseSpiffeId(`spiffe://td/${path}`)));
  });
  const wrong: string[] = [];
  for (const [i, one] of patterns.entries())
    for (const [j, other] of patterns.entries()) {
      const [ones, others] = [matched[i] ?? [], matched[j] ?? []];
      const isCovered = others.every((matches, at) => !matches || ones[at]);
      const isShared = others.some((matches, at) => matches && ones[at]);
      const expected = isCovered ? 'all' : isShared ? 'some' : 'none';
      const found = compareSpiffePattern(one)(other);
      if (found !== expected) wrong.push(`${one} on ${other}: ${found}, not ${expected}`);
    }
  expect(wrong).toEqual([]);
});

describe('compileToolPattern', () => {
  test.each([
    ['get_issue', 'get_issue', true],
    ['get_issue', 'get_issues', false],
    ['get.issue', 'get_issue', false],
    ['list_*', 'list_', true],
    ['list_*', 'list_a*b', true],
    ['list_*', 'xlist_a', false],
    ['*_list', 'a_list', true],
    ['*_list', 'a_list2', false],
    ['a*b*c', 'abc', true],
    ['a*b*c', 'aXbXbXc', true],
    ['a*b*c', 'acb', false],
    ['a*bc*c', 'abc', false],
    ['ab*ba', 'aba', false],
    ['a*a', 'a', false],
    ['*', 'anything at all', true],
    ['*', '', true],
    ['**', 'x', true],
    ['/get|set/', 'get', true],
    ['/get|set/', 'getx', false],
    ['/get|set/', 'xset', false],
    ['/get|/', 'set', false],
    ['/(?m)get/', 'get\nset', false],
    ['/^get$/', 'get', true],
    ['/(?m)^get$/', 'get\n', false],
    ['/.*/', 'a\nb', false],
    ['/a/b/', 'a/b', true],
    ['/\\p{L}+/', 'é', true],
  ])('%s on %j: %s', (pattern, tool, expected) => {
    expect(compileToolPattern(pattern).matches(tool)).toBe(expected);
  });

  test.each([
    ['', /not a tool name/],
    ['get?', /not a tool name/],
    ['get_[ab]', /not a tool name/],
    ['{get,set}_issue', /not a tool name/],
    ['get issue', /not a tool name/],
    ['gét', /not a tool name/],
    ['/get', /between two slashes/],
    ['/', /between two slashes/],
    ['//', /between two slashes/],
    ['/get/i', /between two slashes/],
    ['/(/', /not an RE2 regex: .*missing closing/],
    ['/(a)\\1/', /not an RE2 regex/],
    ['/(?=a)a/', /not an RE2 regex/],
    ['/(x{1000}){1000}/', /not an RE2 regex/],
    ['/x{1000}y{1000}/', /compiles to \d+ steps, at most 1000/],
    [`/${'x'.repeat(255)}/`, /longer than 256/],
  ])('refuses %s', (pattern, message) => {
    expect(() => compileToolPattern(pattern)).toThrow(
      expect.objectContaining({ code: 'policy', message: expect.stringMatching(message) }),
    );
  });
});

test('a pattern may have 256 characters', () => {
  expect(compileToolPattern('x'.repeat(256)).matches('x'.repeat(256))).toBe(true);
});

test('Memo computes once, and forgets when full', () => {
  const memo = new Memo<string, string>(2);
  let computed = 0;
  const ask = (key: string) =>
    memo.get(key, () => {
      computed += 1;
      return `${key}${computed}`;
    });
  expect([ask('a'), ask('b'), ask('a')]).toEqual(['a1', 'b2', 'a1']);
  expect([ask('c'), memo.size, ask('a')]).toEqual(['c3', 1, 'a4']);
});
