import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../spiffe/id.ts';
import { type Call, type Kind, toolNamed } from './call.ts';
import { decide, decideList, decideServer, mayCall, mayExpand } from './decide.ts';
import { compileToolPattern } from './patterns/tool.ts';
import { compilePolicy, type Policy } from './policy.ts';
import { Access } from './resources/access.ts';
import { McpServer } from './resources/server.ts';
import { type Line, Rules } from './rules.ts';

const caller = parseSpiffeId('spiffe://prod.example/app');
const UNTIL = '2026-12-20T00:00:00Z';
const [before, end] = [new Date('2026-12-19T23:59:59.999Z'), new Date(UNTIL)];
const server = (more: object = {}) =>
  McpServer.parse({ kind: 'McpServer', name: 'x', identity: caller, address: 'x:1', ...more });
const rule = (more: object) =>
  Access.parse({ kind: 'Access', name: 'rule', who: [caller], servers: ['x'], ...more });
const observing = server({ observe: { until: UNTIL } });
const policyOf = (...rules: Access[]) => compilePolicy([observing, ...rules], 1n);

const call = (tool: string, now: Date | undefined = before): Call => ({
  caller,
  server: 'x',
  what: toolNamed(tool),
  now,
});
const policy = policyOf(rule({ tools: { allow: ['a'], deny: ['b'] } }));

describe('a server that observes', () => {
  test('lets pass what a rule denies and what none allows, and says which', () => {
    expect(decide(policy, call('b'))).toMatchObject({ allow: true, observed: true, rule: 'rule' });
    expect(decide(policy, call('c'))).toEqual({
      allow: true,
      observed: true,
      rule: undefined,
      reason: `McpServer/x observes until ${UNTIL}: no Access rule lets ${caller} call tool c of server x`,
    });
    expect(decide(policy, call('a'))).not.toHaveProperty('observed');
  });

  test.each([
    ['at its end', end],
    ['where the time is not known', undefined],
  ])('is off %s', (_, now) => {
    const late = { ...call('c'), now };
    expect(decide(policy, late).allow).toBe(false);
    expect(mayCall(policy, late)).toBe('no');
    expect(mayExpand(policy, { ...late, what: { kind: 'resource', name: 'file:///{x}' } })).toBe(false);
    expect(decideList(policy, late, 'prompt').allow).toBe(false);
  });

  test('shows everything in lists', () => {
    expect(['a', 'b', 'c'].map((tool) => mayCall(policy, call(tool)))).toEqual(['yes', 'yes', 'yes']);
    expect(mayExpand(policy, { ...call(''), what: { kind: 'resource', name: 'file:///{x}' } })).toBe(true);
    expect(decideList(policy, call(''), 'prompt')).toMatchObject({ allow: true, observed: true });
  });

  test('lets nobody in, and no name that no rule can allow', () => {
    expect(decideServer(policyOf(rule({ tools: { deny: ['b'] } })), { caller: caller }, 'x').allow).toBe(
      false,
    );
    expect(decide(policyOf(), call('a')).allow).toBe(false);
    expect(decide(policy, call('a\u200b')).allow).toBe(false);
    expect(mayCall(policy, call('a\u200b'))).toBe('no');
  });

  test('clients are notified of another list when it begins or ends', () => {
    const listing = (it: Policy): string => it.rulesFor({ caller: caller }, 'x').listing('tool');
    const rules = rule({ tools: { allow: ['a'] } });
    expect(listing(policyOf(rules))).not.toBe(listing(compilePolicy([server(), rules], 2n)));
  });

  // No resource makes such lines yet.
  test.each([
    ['asks', false, false, { allow: false, ask: true }],
    ['asks and denies', true, false, { allow: false }],
    ['asks on a condition that cannot be decided', false, true, { allow: false }],
  ])('M186 never stands for an approval: a rule that %s', (_, deny, when, expected) => {
    const line: Line = { rule: 'asks', kind: 'tool', pattern: compileToolPattern('a') };
    const answer = () => 'cannot be decided: x';
    const ask: Line = when ? { ...line, when: { text: 'x', reads: new Set(), answer } } : line;
    const rules = new Rules(
      { allow: [], ask: [ask], deny: deny ? [{ ...line, rule: 'no' }] : [] },
      { observe: UNTIL },
    );
    const asking: Policy = { ...policy, rulesFor: () => rules };
    const decision = decide(asking, call('a'));
    expect(decision).toMatchObject(expected);
    expect(mayCall(asking, call('a'))).toBe(deny ? 'no' : 'maybe');
  });
});

describe('everything', () => {
  test('shows all templates of resources', () => {
    const strict = compilePolicy([server(), rule({ everything: { until: UNTIL } })], 1n);
    const template = (now: Date) =>
      ({ ...call('', now), what: { kind: 'resource', name: 'repo://{a}/b' } }) as const;
    expect(mayExpand(strict, template(before))).toBe(true);
    expect(mayExpand(strict, template(end))).toBe(false);
  });

  const all = policyOf(rule({ everything: { until: UNTIL } }));
  const strict = compilePolicy([server(), rule({ everything: { until: UNTIL } })], 1n);

  test.each<Kind>(['tool', 'resource', 'prompt', 'completion', 'logging'])(
    'allows a %s until its end',
    (kind) => {
      const name = kind === 'resource' ? 'file:///a' : kind === 'logging' ? 'debug' : 'a';
      const what = { kind, name } as const;
      expect(decide(strict, { ...call(''), what })).toMatchObject({
        allow: true,
        rule: 'rule',
        reason: expect.stringMatching(/: everything until 2026-12-20T00:00:00Z$/),
      });
      expect(decide(all, { ...call(''), what })).not.toHaveProperty('observed');
      expect(decide(strict, { ...call('', end), what }).allow).toBe(false);
      expect(decide(strict, { ...call(''), what, now: undefined }).allow).toBe(false);
    },
  );
});
