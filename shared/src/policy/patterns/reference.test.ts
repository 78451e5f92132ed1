import { expect, test } from 'vitest';
import { compileReferencePattern, whyNoReference } from './reference.ts';

test.each([
  ['greet', 'greet', true],
  ['greet', 'greets', false],
  ['*', 'repo://{owner}/{name}', true],
  ['repo://{owner}/{name}', 'repo://{owner}/{name}', true],
  ['repo://{owner}/{name}', 'repo://acme/x', false],
  ['/greet|hello/', 'hello', true],
])('%s on %s: %s', (pattern, reference, expected) => {
  expect(compileReferencePattern(pattern).matches(reference)).toBe(expected);
});

test.each([
  ['', /not the name of a prompt/],
  ['caf\u00e9', /not the name of a prompt/],
  [' greet', /not the name of a prompt/],
  ['x'.repeat(513), /longer than 512/],
  ['/(/', /not an RE2 regex/],
])('refuses %j', (pattern, message) => {
  expect(() => compileReferencePattern(pattern)).toThrow(
    expect.objectContaining({ code: 'policy', message: expect.stringMatching(message) }),
  );
});

test.each([
  ['greet\u200b', /not of ASCII/],
  ['greet ', /not of ASCII/],
  ['x'.repeat(2_049), /2049 characters/],
])('%j cannot be allowed', (reference, message) => {
  expect(whyNoReference(reference)).toMatch(message);
});
