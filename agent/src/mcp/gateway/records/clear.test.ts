import type { JsonObject } from '@chancery/shared/ground/json.ts';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { expect, test } from 'vitest';
import { TOOLS } from '../../../../../test/kit/mcp/world/world.ts';
import { argumentsInClear } from './clear.ts';

const policyWith = (fields: readonly string[], tools = ['echo']) =>
  compilePolicy(
    [
      McpServer.parse({
        kind: 'McpServer',
        name: 'everything',
        identity: TOOLS,
        address: '127.0.0.1:1',
        clear: [{ tools, fields }],
      }),
    ],
    1n,
  );
const of = (fields: readonly string[], given: JsonObject, tool = 'echo') =>
  argumentsInClear(policyWith(fields), 'everything', { kind: 'tool', name: tool, arguments: given });
const token = `ghp_${'a1B2'.repeat(9)}`;

test('M105 what the McpServer names is in clear, and nothing else', () => {
  const given = { repo: 'acme/x', n: 3, body: 'private', nested: { a: 'b' } };
  expect(of(['/repo', '/n', '/nested', '/gone'], given)).toEqual({ '/repo': 'acme/x', '/n': '3' });
  expect(of(['/gone'], given)).toBeUndefined();
  expect(of(['/repo'], given, 'other')).toBeUndefined();
  expect(
    argumentsInClear(policyWith(['/repo']), 'mail', { kind: 'tool', name: 'echo', arguments: given }),
  ).toBeUndefined();
});

test('M105 a secret in a field is masked, also where the value is cut', () => {
  expect(of(['/repo'], { repo: `https://${token}@x` })).toEqual({
    '/repo': 'https://[masked: GitHub token]@x',
  });
  const { '/repo': cut = '' } =
    of(['/repo'], { repo: `${'x '.repeat(118)}${token}${' y'.repeat(200)}` }) ?? {};
  expect(cut).not.toContain('ghp_');
  expect(cut).toMatch(/ characters\)$/);
});

test.each<[string, string]>([
  ['letters', 'x'],
  ['control characters', '\u0001'],
  ['fire', '🔥'],
])('M105 16 long values of %s take no more than a record has room for', (_, of1) => {
  const names = Array.from({ length: 16 }, (_, n) => `f${n}`);
  const given = Object.fromEntries(names.map((name) => [name, of1.repeat(10_000)]));
  const kept = of(
    names.map((name) => `/${name}`),
    given,
  );
  expect(Object.keys(kept ?? {})).toHaveLength(16);
  expect(Buffer.byteLength(JSON.stringify(kept))).toBeLessThan(10 * 1024);
});
