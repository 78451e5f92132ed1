import { expect, test } from 'vitest';
import { compileUsePattern } from './use.ts';

test.each([
  ['deploy', 'deploy', true],
  ['deploy', 'deploys', false],
  ['deploy*', 'deploy_all', true],
  ['file:///srv/*', 'file:///srv/a', true],
  ['repo://{owner}', 'repo://{owner}', true],
  ['repo://{owner}', 'repo://acme', false],
  ['/deploy|plan/', 'plan', true],
  ['/deploy|plan/', 'plans', false],
  // What belongs to no request.
  ['*', '', true],
  ['/.*/', '', true],
  ['deploy*', '', false],
])('%s on %j: %s', (pattern, use, expected) => {
  expect(compileUsePattern(pattern).matches(use)).toBe(expected);
});

test.each([
  ['', /not the name of a tool or prompt/],
  ['caf\u00e9', /not the name of a tool or prompt/],
  [' deploy', /not the name of a tool or prompt/],
  ['x'.repeat(513), /at most 512 characters/],
  ['/(/', /not an RE2 regex/],
])('refuses %j', (pattern, message) => {
  expect(() => compileUsePattern(pattern)).toThrow(
    expect.objectContaining({ code: 'policy', message: expect.stringMatching(message) }),
  );
});
