/** Attacks on the policy itself, without a wire: patterns, names and their cost. */
import { toolNamed } from '@chancery/shared/policy/call.ts';
import { decide, decideServer } from '@chancery/shared/policy/decide.ts';
import { compileSpiffePattern } from '@chancery/shared/policy/patterns/spiffe.ts';
import { compileToolPattern } from '@chancery/shared/policy/patterns/tool.ts';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { expect, test } from 'vitest';
import { id } from '../../kit/mcp/world/world.ts';

const github = McpServer.parse({
  kind: 'McpServer',
  name: 'github',
  identity: id('tools/github'),
  address: 'github:1',
});
const policy = (tools: object, who: readonly string[] = ['spiffe://prod.example/app']) =>
  compilePolicy(
    [github, Access.parse({ kind: 'Access', name: 'rule', who, servers: ['github'], tools })],
    1n,
  );
const allows = (tools: object, tool: string) =>
  decide(policy(tools), { caller: id('app'), server: 'github', what: toolNamed(tool) }).allow;

test.each([
  ['M8 a literal deny', { allow: ['*'], deny: ['drop'] }, 'drop'],
  ['M8 a glob deny', { allow: ['drop_table'], deny: ['drop_*'] }, 'drop_table'],
  ['M8 a regex deny', { allow: ['drop_table'], deny: ['/drop_.*/'] }, 'drop_table'],
  ['M8 allowed and denied by the same words', { allow: ['drop'], deny: ['drop'] }, 'drop'],
  ['M9 a tool nobody wrote of', { allow: ['get_*'] }, 'drop'],
  ['M9 a tool of a server that allows nothing', { deny: ['x'] }, 'drop'],
  ['M8 an alternative that is anchored at one end only', { allow: ['/get|drop/'] }, 'get_and_drop'],
  ['M8 a newline after the match', { allow: ['/get_\\w+/'] }, 'get_x\ndrop'],
  ['M8 a dot is a dot', { allow: ['a.b'] }, 'aXb'],
  ['M8 a prefix', { allow: ['get'] }, 'get_secret'],
])('%s', (_name, tools, tool) => {
  expect(allows(tools, tool)).toBe(false);
});

test.each([
  ['*', 'policy'],
  ['**', 'spiffe_id'],
  ['spiffe://*/app', 'policy'],
  ['spiffe://prod.example*/app', 'spiffe_id'],
  ['spiffe://prod.example/app*', 'spiffe_id'],
  ['spiffe://prod.example/**/app', 'policy'],
])('I31 %s is no pattern', (who, code) => {
  expect(() => compileSpiffePattern(who)).toThrow(expect.objectContaining({ code }));
  expect(() => policy({ allow: ['*'] }, [who])).toThrow(expect.objectContaining({ name: 'ZodError' }));
});

test.each([
  ['/app', 'spiffe://prod.example/app-evil'],
  ['/app/*', 'spiffe://prod.example/app-evil/x'],
  ['/app/*', 'spiffe://prod.example/app/x/y'],
  ['/app/*', 'spiffe://prod.example/app'],
  ['/app/**', 'spiffe://prod.example/app-evil/x'],
  ['/*', 'spiffe://prod.example.evil/app'],
  ['/**', 'spiffe://evil.example/prod.example/app'],
])('I31 %s does not let %s in', (path, caller) => {
  const rules = policy({ allow: ['*'] }, [`spiffe://prod.example${path}`]);
  expect(decideServer(rules, { caller: caller as ReturnType<typeof id> }, 'github').allow).toBe(false);
});

/** Each takes a backtracking engine for ever, and the last a determinised one much memory. */
const PATHOLOGICAL = [
  '(a+)+b',
  '(a|a)*b',
  '(a|aa)+c',
  '(.*a){12}c',
  '([a-z]+)*[0-9]',
  '(a?){60}a{60}b',
  '(a|b)*a(a|b){12}c',
];

test.each(PATHOLOGICAL)('M23 /%s/ takes a name of 128 characters in linear time', (pattern) => {
  const { matches } = compileToolPattern(`/${pattern}/`);
  // A bound that any linear engine meets a hundred times over and no backtracking one in a lifetime.
  const started = performance.now();
  for (const name of ['a'.repeat(128), 'ab'.repeat(64), `${'a'.repeat(127)}!`])
    expect(matches(name)).toBe(false);
  expect(performance.now() - started).toBeLessThan(1_000);
});

test('M23 a glob of many stars takes a name of 128 characters in linear time', () => {
  const { matches } = compileToolPattern(`${'*a'.repeat(100)}*b`);
  const started = performance.now();
  expect(matches('a'.repeat(128))).toBe(false);
  expect(performance.now() - started).toBeLessThan(100);
});

test.each(['/x{1000}y{1000}/', '/((a{1,30}){1,30}){1,30}/'])(
  'M23 %s is too large to be a pattern',
  (pattern) => {
    expect(() => compileToolPattern(pattern)).toThrow(expect.objectContaining({ code: 'policy' }));
  },
);
