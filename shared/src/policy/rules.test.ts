/** Lines with conditions; and, as no resource has them yet, rules that ask for an approval. */
import { beforeEach, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../spiffe/id.ts';
import { type Call, toolNamed } from './call.ts';
import type { When } from './condition/when.ts';
import { decide, decideServer, mayCall } from './decide.ts';
import { closed } from './decision.ts';
import { compileToolPattern } from './patterns/tool.ts';
import { compilePolicy, type Policy } from './policy.ts';
import { McpServer } from './resources/server.ts';
import { type DecideBy, type Line, type Lines, Rules } from './rules.ts';

const caller = parseSpiffeId('spiffe://prod.example/agents/triage');
const github = McpServer.parse({
  kind: 'McpServer',
  name: 'github',
  identity: 'spiffe://prod.example/tools/github',
  address: 'github:1',
});

function policyOf(lines: Partial<Lines>): Policy {
  const rules = new Rules({ allow: [], ask: [], deny: [], ...lines });
  return { ...compilePolicy([github], 1n), rulesFor: () => rules };
}
const line = (rule: string, pattern: string, condition?: When): Line => ({
  rule,
  kind: 'tool',
  pattern: compileToolPattern(pattern),
  ...(condition && { when: condition }),
});
const when = (text: string, holds: (call: Call) => boolean | undefined): When => ({
  text,
  reads: new Set(),
  answer: (call) => holds(call) ?? 'is unknown',
});
const onOwner = when('owner', ({ arguments: args }) =>
  args === undefined ? undefined : args['owner'] === 'acme',
);
const fails = when('fails', () => undefined);
const never = when('never', () => false);

const named: Call = { caller, server: 'github', what: toolNamed('create_issue') };
const acme: Call = { ...named, arguments: { owner: 'acme' } };
const other: Call = { ...named, arguments: { owner: 'other' } };

/** The answer to a call, in one word. */
function answer(policy: Policy, call: Call): 'allow' | 'ask' | 'deny' {
  const decision = decide(policy, call);
  if (decision.allow) return 'allow';
  return decision.ask === true ? 'ask' : 'deny';
}

test.each<[string, Partial<Lines>, [Call, string][]]>([
  [
    'an allow with a condition',
    { allow: [line('a', '*', onOwner)] },
    [
      [acme, 'allow'],
      [other, 'deny'],
      [named, 'deny'],
    ],
  ],
  [
    'an allow whose condition fails beside one that holds',
    { allow: [line('a', '*', fails), line('b', '*', never), line('c', '*')] },
    [[named, 'allow']],
  ],
  ['an allow whose condition fails', { allow: [line('a', '*', fails)] }, [[acme, 'deny']]],
  [
    'a deny with a condition',
    { allow: [line('a', '*')], deny: [line('b', '*', onOwner)] },
    [
      [acme, 'deny'],
      [other, 'allow'],
      [named, 'deny'],
    ],
  ],
  ['a deny of another tool', { allow: [line('a', '*')], deny: [line('b', 'delete_*')] }, [[named, 'allow']]],
  [
    'an ask',
    { ask: [line('a', 'create_*')] },
    [
      [named, 'ask'],
      [{ ...named, what: toolNamed('delete_issue') }, 'deny'],
    ],
  ],
  ['an ask beats an allow', { ask: [line('b', 'create_*')], allow: [line('a', '*')] }, [[named, 'ask']]],
  ['a deny beats an ask', { ask: [line('a', '*')], deny: [line('b', '*')] }, [[named, 'deny']]],
  [
    'an ask with a condition',
    { ask: [line('a', '*', onOwner)], allow: [line('b', '*')] },
    [
      [acme, 'ask'],
      [other, 'allow'],
      [named, 'deny'],
    ],
  ],
])('%s', (_name, lines, expected) => {
  // One policy, for what it remembers of the first call must not decide the next.
  const policy = policyOf(lines);
  expect(expected.map(([call]) => answer(policy, call))).toEqual(expected.map(([, word]) => word));
});

test.each<[string, Partial<Lines>, string]>([
  ['allowed by name', { allow: [line('a', '*')] }, 'yes'],
  ['allowed by name, and perhaps by arguments', { allow: [line('a', '*', onOwner), line('b', '*')] }, 'yes'],
  ['allowed by arguments', { allow: [line('a', '*', onOwner)] }, 'maybe'],
  [
    'allowed by name, denied by arguments',
    { allow: [line('a', '*')], deny: [line('b', '*', onOwner)] },
    'maybe',
  ],
  ['to be asked about', { ask: [line('a', '*')] }, 'maybe'],
  [
    'allowed, or to be asked about by arguments',
    { allow: [line('a', '*')], ask: [line('b', '*', onOwner)] },
    'maybe',
  ],
  ['allowed, and never to be asked about', { allow: [line('a', '*')], ask: [line('b', '*', never)] }, 'yes'],
  ['allowed, and never denied', { allow: [line('a', '*')], deny: [line('b', '*', never)] }, 'yes'],
  ['denied by name', { allow: [line('a', '*', onOwner)], deny: [line('b', '*')] }, 'no'],
  ['never allowed', { allow: [line('a', '*', never)] }, 'no'],
  ['another tool is allowed', { allow: [line('a', 'delete_*')] }, 'no'],
  ['nothing is allowed', {}, 'no'],
])('in a list, a tool that is %s', (_name, lines, expected) => {
  expect(mayCall(policyOf(lines), named)).toBe(expected);
});

test('no list has a name that no rule can allow', () => {
  const all = policyOf({ allow: [line('a', '*')] });
  expect(mayCall(all, { ...named, what: toolNamed('list_\u200bx') })).toBe('no');
  expect(mayCall(all, { ...named, server: 'gitlab' })).toBe('no');
});

test('a condition sees the whole call', () => {
  const seen: Call[] = [];
  const call = { ...acme, now: new Date(0), session: 'a' };
  const watches = when('watches', (given) => seen.push(given) > 0);
  expect(answer(policyOf({ allow: [line('a', '*', watches)] }), call)).toBe('allow');
  expect(seen).toEqual([call]);
});

test('a condition that several lines have is asked once for a call', () => {
  let asked = 0;
  const counted = when('counted', () => {
    asked += 1;
    return false;
  });
  const lines = {
    deny: [line('d', '*', counted)],
    allow: [line('a', '*', counted), line('b', 'create_*', counted)],
  };
  expect(answer(policyOf(lines), acme)).toBe('deny');
  expect(asked).toBe(1);
});

test('a rule that only asks lets its caller in', () => {
  const policy = policyOf({ ask: [line('a', '*')] });
  expect(decideServer(policy, { caller: caller }, 'github')).toMatchObject({ allow: true, rule: 'a' });
});

test('an ask names its rule, and is a denial where nobody can approve', () => {
  const asked = decide(policyOf({ ask: [line('a', 'create_*')] }), named);
  const says = `a lets ${caller} call tool create_issue of server github with an approval: create_*`;
  expect(asked).toEqual({ allow: false, ask: true, rule: 'a', reason: says });
  const reason = `${says}; nobody can approve it here`;
  expect(closed(asked)).toEqual({ allow: false, rule: 'a', reason, approval: 'nobody' });
});

test('what is allowed or denied stays so where nobody can approve', () => {
  for (const lines of [{ allow: [line('a', '*')] }, {}]) {
    const decision = decide(policyOf(lines), named);
    expect(closed(decision)).toBe(decision);
  }
});

test('rules of other patterns or conditions give another list', () => {
  const of = (lines: Partial<Lines>): string =>
    new Rules({ allow: [], ask: [], deny: [], ...lines }).listing('tool');
  expect(of({ allow: [line('a', 'x')] })).toBe(of({ allow: [line('b', 'x')] }));
  const all = [{}, { allow: [line('a', 'x')] }, { ask: [line('a', 'x')] }, { deny: [line('a', 'x')] }];
  const conditional = [onOwner, never].map((each) => ({ allow: [line('a', 'x', each)] }));
  expect(new Set([...all, ...conditional].map(of)).size).toBe(all.length + conditional.length);
});

describe('an answer is remembered', () => {
  const made: [string, Call][] = [];
  beforeEach(() => void made.splice(0));
  const by =
    (name: string): DecideBy =>
    (_, call) => {
      made.push([name, call]);
      return { allow: true, rule: name, reason: name };
    };
  const [first, second] = [by('first'), by('second')];
  const rulesOf = (lines: Partial<Lines>) => new Rules({ allow: [], ask: [], deny: [], ...lines });

  test('for the function that gave it, and for no other', () => {
    const rules = rulesOf({ allow: [line('a', '*')] });
    const rulesBy = (decideBy: DecideBy) => rules.decide(named, decideBy);
    expect([first, first, second, first].map(rulesBy)).toMatchObject(
      ['first', 'first', 'second', 'first'].map((rule) => ({ rule })),
    );
    expect(made.map(([name]) => name)).toEqual(['first', 'second', 'first']);
  });

  test('for the names only, without a condition; with one, each call is decided as a whole', () => {
    rulesOf({ allow: [line('a', '*')] }).decide(acme, first);
    expect(made.splice(0)).toEqual([['first', named]]);
    const conditional = rulesOf({ allow: [line('a', '*', onOwner)] });
    for (const call of [acme, other, acme]) conditional.decide(call, first);
    expect(made.map(([, call]) => call)).toEqual([acme, other, acme]);
  });
});
