import { createRequire } from 'node:module';
import { expect, test } from 'vitest';
import { compileCondition } from './condition.ts';

const { cache } = createRequire(import.meta.url);
const isLoaded = (): boolean => Object.keys(cache).some((path) => path.includes('/@bufbuild/cel/'));

test('the engine is loaded with the first condition', () => {
  expect(isLoaded()).toBe(false);
  compileCondition('true');
  expect(isLoaded()).toBe(true);
});

const variables = { namespace: 'agents', kubernetes: { namespace: 'agents' }, name: 'x'.repeat(200_000) };

test.each<[string, boolean | string | RegExp]>([
  ["kubernetes.namespace in ['agents', 'tools']", true],
  ["kubernetes.namespace == 'tools'", false],
  ['kubernetes.namespace', 'is not a boolean'],
  ['kubernetes.cluster == "a"', /^fails: /],
  ['nothing.of_this == "a"', /^fails: /],
  ['1 / 0 == 1', /^fails: /],
])('%s: %s', (source, expected) => {
  const answer = compileCondition(source).holds(variables);
  if (expected instanceof RegExp) expect(answer).toMatch(expected);
  else expect(answer).toBe(expected);
});

test('a regular expression takes linear time', () => {
  const started = performance.now();
  expect(compileCondition("name.matches('^(x+)+y$')").holds(variables)).toBe(false);
  expect(performance.now() - started).toBeLessThan(5_000);
});

test('a condition keeps its text', () => {
  expect(compileCondition('1 == 1').source).toBe('1 == 1');
});

test.each([
  ['1 ==', /^when is not a CEL expression: /],
  [
    "namespace == 'a'",
    /reserved identifier.*; write it with its platform, for instance kubernetes\.namespace$/,
  ],
])('refuses %s', (source, message) => {
  expect(() => compileCondition(source)).toThrow(
    expect.objectContaining({ code: 'resource', message: expect.stringMatching(message) }),
  );
});
