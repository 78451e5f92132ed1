import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../spiffe/id.ts';
import { type Call, toolNamed } from './call.ts';
import { decide, decideList, decideServer, mayCall, mayExpand } from './decide.ts';
import { compilePolicy } from './policy.ts';
import { Access } from './resources/access.ts';
import { McpServer } from './resources/server.ts';

const caller = parseSpiffeId('spiffe://prod.example/agents/triage');
const now = new Date('2026-12-01T12:00:00Z');
const server = (name: string, more: object = {}) =>
  McpServer.parse({
    ...{ kind: 'McpServer', name, address: 'h:1', identity: `spiffe://prod.example/tools/${name}` },
    ...more,
  });
const rule = (name: string, more: object) =>
  Access.parse({ kind: 'Access', name, who: [caller], servers: ['x'], ...more });
const reading = rule('reading', { tools: { allow: ['get_*'] }, scopes: ['read', 'both'] });
const all = rule('all', { tools: { allow: ['*'] }, resources: { allow: ['file:///*'] } });
const denying = rule('denying', { tools: { deny: ['get_secret'] } });
const policy = compilePolicy([server('x'), server('y'), reading, all, denying], 1n);

const call = (tool: string, scope?: string): Call => ({
  caller,
  scope,
  server: 'x',
  what: toolNamed(tool),
  now,
});

describe('in a scope', () => {
  test.each<[string, string | undefined, boolean, 'yes' | 'no']>([
    ['get_a', undefined, true, 'yes'],
    ['set_a', undefined, true, 'yes'],
    ['get_a', 'read', true, 'yes'],
    ['get_a', 'both', true, 'yes'],
    ['set_a', 'read', false, 'no'],
    ['get_secret', 'read', false, 'no'],
    ['get_a', 'other', false, 'no'],
  ])('%s by %s', (tool, scope, allow, may) => {
    expect(decide(policy, call(tool, scope)).allow).toBe(allow);
    expect(mayCall(policy, call(tool, scope))).toBe(may);
  });

  test('a denial says so, and a rule that denies is named whatever its scope', () => {
    expect(decide(policy, call('set_a', 'read'))).toMatchObject({
      rule: undefined,
      reason: `no Access rule lets ${caller} in scope read call tool set_a of server x`,
    });
    expect(decide(policy, call('get_secret', 'read'))).toMatchObject({ rule: 'denying' });
  });

  test('servers, lists and templates are those of its rules', () => {
    const who = (scope?: string) => ({ caller, scope });
    expect([undefined, 'read', 'other'].map((scope) => decideServer(policy, who(scope), 'x').allow)).toEqual([
      true,
      true,
      false,
    ]);
    const lists = (scope?: string) =>
      (['tool', 'resource'] as const).map(
        (kind) => decideList(policy, { ...who(scope), server: 'x', now }, kind).allow,
      );
    expect(lists()).toEqual([true, true]);
    expect(lists('read')).toEqual([true, false]);
    const template = (scope?: string): Call => ({
      ...call('', scope),
      what: { kind: 'resource', name: 'file:///{path}' },
    });
    expect(mayExpand(policy, template())).toBe(true);
    expect(mayExpand(policy, template('read'))).toBe(false);
  });

  test('the list of a caller is another one', () => {
    const listing = (scope?: string) => policy.rulesFor({ caller, scope }, 'x').listing('tool');
    expect(new Set([listing(), listing('read'), listing('other')]).size).toBe(3);
    expect(listing('read')).toBe(listing('both'));
  });

  test('a server that observes lets nothing more pass', () => {
    const until = '2026-12-02T00:00:00Z';
    const observing = compilePolicy([server('x', { observe: { until } }), reading], 1n);
    expect(decide(observing, call('set_a')).allow).toBe(true);
    expect(decide(observing, call('set_a', 'read')).allow).toBe(false);
    expect(mayCall(observing, call('set_a', 'read'))).toBe('no');
    expect(decideList(observing, call('', 'read'), 'resource').allow).toBe(false);
  });
});
