import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../spiffe/id.ts';
import { toolNamed } from './call.ts';
import { decide, decideServer } from './decide.ts';
import { compilePolicy } from './policy.ts';
import { Access } from './resources/access.ts';
import { McpServer } from './resources/server.ts';

const triage = parseSpiffeId('spiffe://prod.example/ns/agents/sa/triage');
const stranger = parseSpiffeId('spiffe://prod.example/ns/agents/sa/stranger');
const github = McpServer.parse({
  kind: 'McpServer',
  name: 'github',
  identity: 'spiffe://prod.example/ns/tools/sa/github-mcp',
  address: 'github-mcp.tools.svc:8443',
});
const access = (name: string, tools: object, who = [triage as string]) =>
  Access.parse({ kind: 'Access', name, who, servers: ['github'], tools });

const policy = compilePolicy(
  [
    github,
    access('triage', {
      allow: ['get_issue', 'list_*', '/(search|query)_.+/', 'delete_comment'],
      deny: ['list_secrets'],
    }),
    access('no-deleting', { deny: ['delete_*'] }, ['spiffe://prod.example/**']),
  ],
  7n,
);
const call = (tool: string, caller = triage, server = 'github') =>
  decide(policy, { caller, server, what: toolNamed(tool) });

describe('decide', () => {
  test.each([
    [
      'get_issue',
      'triage',
      'triage lets spiffe://prod.example/ns/agents/sa/triage call tool get_issue of server github: get_issue',
    ],
    [
      'list_issues',
      'triage',
      'triage lets spiffe://prod.example/ns/agents/sa/triage call tool list_issues of server github: list_*',
    ],
    [
      'search_code',
      'triage',
      'triage lets spiffe://prod.example/ns/agents/sa/triage call tool search_code of server github: /(search|query)_.+/',
    ],
  ])('allows %s by %s', (tool, rule, reason) => {
    expect(call(tool)).toEqual({ allow: true, rule, reason });
  });

  test.each([
    [
      'a literal deny beats a glob allow',
      call('list_secrets'),
      'triage',
      /triage does not let .*: list_secrets$/,
    ],
    [
      'another rule denies by glob',
      call('delete_comment'),
      'no-deleting',
      /no-deleting does not let .*: delete_\*$/,
    ],
    [
      'nothing matches',
      call('create_issue'),
      undefined,
      /^no Access rule lets .*triage call tool create_issue of server github$/,
    ],
    ['another case', call('Get_Issue'), undefined, /no Access rule lets/],
    ['no name', call(''), undefined, /no Access rule lets/],
    ['the regex matches a part only', call('x_search_code'), undefined, /no Access rule lets/],
    ['a newline after a match', call('search_code\n'), undefined, /cannot be seen/],
    ['a zero-width space in a match', call('list_\u200bx'), undefined, /cannot be seen/],
    ['129 characters', call(`list_${'x'.repeat(124)}`), undefined, /has 129 characters/],
    [
      'a caller whom no rule lets in',
      call('get_issue', stranger),
      undefined,
      /no Access rule lets .*stranger reach server github/,
    ],
    [
      'a server that is not registered',
      call('get_issue', triage, 'gitlab'),
      undefined,
      /no server is registered as gitlab/,
    ],
  ])('denies: %s', (_name, decision, rule, reason) => {
    expect(decision).toEqual({ allow: false, rule, reason: expect.stringMatching(reason) });
  });

  test('128 characters is a name', () => {
    expect(call(`list_${'x'.repeat(123)}`).allow).toBe(true);
  });

  test('answers the same the second time', () => {
    expect(call('list_secrets')).toEqual(call('list_secrets'));
  });

  test('a server without a rule lets nobody in', () => {
    const bare = compilePolicy([github], 1n);
    expect(decideServer(bare, { caller: triage }, 'github').allow).toBe(false);
  });
});

describe('decideServer', () => {
  test('lets in whom a rule allows something', () => {
    expect(decideServer(policy, { caller: triage }, 'github')).toEqual({
      allow: true,
      rule: 'triage',
      reason: 'triage lets spiffe://prod.example/ns/agents/sa/triage reach server github',
    });
  });

  test('does not let in whom rules only deny', () => {
    expect(decideServer(policy, { caller: stranger }, 'github').allow).toBe(false);
  });
});

describe('compilePolicy', () => {
  test('refuses two rules of one name', () => {
    const twice = [access('a', { allow: ['x'] }), access('a', { allow: ['y'] })];
    expect(() => compilePolicy(twice, 1n)).toThrow('two Access resources are named a');
  });

  test('lets a server and a rule share a name', () => {
    expect(compilePolicy([github, access('github', { allow: ['x'] })], 1n).version).toBe(1n);
  });

  test('names the first rule in order of names, whatever order they came in', () => {
    const both = [github, access('b', { allow: ['x'] }), access('a', { allow: ['*'] })];
    expect(
      decide(compilePolicy(both, 1n), { caller: triage, server: 'github', what: toolNamed('x') }).rule,
    ).toBe('a');
    expect(
      decide(compilePolicy(both.reverse(), 1n), { caller: triage, server: 'github', what: toolNamed('x') })
        .rule,
    ).toBe('a');
  });
});
