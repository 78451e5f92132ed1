import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../spiffe/id.ts';
import { toolNamed, type What } from '../call.ts';
import { compilePolicy } from '../policy.ts';
import { Access } from '../resources/access.ts';
import { McpServer } from '../resources/server.ts';
import { aboveRate, demandsOn } from './demands.ts';
import { compileRate } from './rate.ts';

const caller = parseSpiffeId('spiffe://prod.example/agents/a');
const now = new Date('2026-01-01T00:00:00Z');
const notes = {
  kind: 'McpServer',
  name: 'notes',
  identity: 'spiffe://prod.example/gateway',
  address: 'notes:1',
  tools: { 'list-*': { action: 'read' } },
};

const policyOf = (rules: readonly object[], server: object = {}) =>
  compilePolicy(
    [
      McpServer.parse({ ...notes, ...server }),
      ...rules.map((rule, index) =>
        Access.parse({ kind: 'Access', name: `r${index}`, who: [caller], servers: ['notes'], ...rule }),
      ),
    ],
    1n,
  );
const call = (what: What, given = {}) => ({ caller, server: 'notes', what, arguments: given, now });
const demanded = (rules: readonly object[], what: What, given = {}) =>
  demandsOn(policyOf(rules), call(what, given)).map(({ rule, tool, rate }) => [rule, tool, rate.text]);

test.each([
  ['60/m', undefined, 1, 6],
  ['5/s', undefined, 5, 1],
  ['7200/h', 3, 2, 3],
  ['1/h', undefined, 1 / 3600, 1],
])('%s with a burst of %s', (text, burst, perSecond, expected) => {
  expect(compileRate(text, burst)).toEqual({ perSecond, burst: expected, text });
});

test.each(['60', '0/m', '-1/m', '1.5/s', '60/d', '60/M', '1000000/s', ' 6/m', '6/m '])(
  'a rate of %j is refused',
  (text) => {
    expect(() => compileRate(text)).toThrow(/a rate is a number in a time, as 60\/m, 5\/s or 100\/h/);
  },
);

const ALL = { tools: { allow: ['*'] }, prompts: { allow: ['*'] } };
test.each<[string, object, RegExp]>([
  ['without calls and tools', { ...ALL, rate: {} }, /a rate has calls or tools/],
  ['with a burst of nothing', { ...ALL, rate: { burst: 2, tools: { a: '1/s' } } }, /burst is one of calls/],
  ['of no tool', { prompts: { allow: ['a'] }, rate: { tools: { a: '1/s' } } }, /this one allows none of it/],
  ['of what is denied', { tools: { deny: ['a'] }, rate: { calls: '1/s' } }, /this one allows none of it/],
  ['of a tool without a name', { ...ALL, rate: { tools: { '': '1/s' } } }, /./],
  ['of too many tools', { ...ALL, rate: { tools: many(101) } }, /at most 100 tools/],
  ['with another key', { ...ALL, rate: { calls: '1/s', session: '1/s' } }, /session/],
])('a rate %s is refused', (_says, rule, reason) => {
  expect(() => policyOf([rule])).toThrow(reason);
});
function many(count: number) {
  return Object.fromEntries(Array.from({ length: count }, (_, n) => [`t${n}`, '1/s']));
}

describe('a use counts', () => {
  const rate = { calls: '60/m', tools: { 'e*': '10/m', echo: '5/m' } };
  test('against the rule that allows it, and against the slowest rate of its tool', () => {
    expect(demanded([{ ...ALL, rate }], toolNamed('echo'))).toEqual([
      ['r0', undefined, '60/m'],
      ['r0', 'echo', '5/m'],
    ]);
    expect(demanded([{ ...ALL, rate }], toolNamed('eat'))).toEqual([
      ['r0', undefined, '60/m'],
      ['r0', 'eat', '10/m'],
    ]);
  });
  test('against no tool where it is of another kind', () => {
    expect(demanded([{ ...ALL, rate }], { kind: 'prompt', name: 'echo' })).toEqual([
      ['r0', undefined, '60/m'],
    ]);
  });
  test('against each rule with a rate that allows it, and no other', () => {
    const named = { tools: { allow: ['echo'] }, rate: { calls: '1/s' } };
    const classed = { tools: { allowActions: ['read'] }, rate: { calls: '2/s' } };
    const rules = [ALL, named, classed, { ...ALL, rate }];
    expect(demanded(rules, toolNamed('list-all')).map(([rule]) => rule)).toEqual(['r2', 'r3']);
    expect(demanded(rules, toolNamed('add')).map(([rule]) => rule)).toEqual(['r3']);
  });
  test('against a rule whose condition holds or cannot be decided', () => {
    const tools = { allow: ['*'] };
    const rules = [{ tools, when: 'args.n > 1', rate: { calls: '1/s' } }];
    expect(demanded(rules, toolNamed('a'), { n: 2 })).toHaveLength(1);
    expect(demanded(rules, toolNamed('a'), { n: 1 })).toEqual([]);
    expect(demanded(rules, toolNamed('a'))).toHaveLength(1);
  });
  test('as something that everything allows', () => {
    const rules = [{ everything: { until: '2026-01-20T00:00:00Z' }, rate: { calls: '1/s' } }];
    expect(demanded(rules, { kind: 'resource', name: 'file:///a' })).toHaveLength(1);
  });
  test('not as a log message', () => {
    expect(demanded([{ ...ALL, logging: 'debug', rate }], { kind: 'logging', name: 'info' })).toEqual([]);
  });
});

describe('above a rate', () => {
  const decided = (server: object) => {
    const policy = policyOf([{ ...ALL, rate: { calls: '60/m', tools: { '*': '1/s' } } }], server);
    const [calls, tool] = demandsOn(policy, call(toolNamed('a')));
    if (calls === undefined || tool === undefined) throw new Error('no demands');
    return [calls, tool].map((demand) => aboveRate(policy, call(toolNamed('a')), { demand, waitMs: 7 }));
  };
  test('is denied by the rule, for so long', () => {
    const says = `r0 lets ${caller} call tool a of server notes`;
    expect(decided({})).toEqual([
      {
        allow: false,
        rule: 'r0',
        retryAfterMs: 7,
        reason: `${says} at 60/m of all that it allows there: this is more`,
      },
      { allow: false, rule: 'r0', retryAfterMs: 7, reason: `${says} at 1/s of this tool: this is more` },
    ]);
  });
  test('passes at a server that observes', () => {
    expect(decided({ observe: { until: '2026-01-20T00:00:00Z' } })).toMatchObject([
      { allow: true, observed: true, rule: 'r0', reason: expect.stringMatching(/at 60\/m/) },
      { allow: true, observed: true },
    ]);
  });
});
