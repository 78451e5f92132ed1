/** Rules about resources, prompts and completions. */
import { expect, test } from 'vitest';
import { parseSpiffeId } from '../spiffe/id.ts';
import { type Kind, subscriptionTo, taskBy } from './call.ts';
import { decide, decideServer, mayCall, mayExpand } from './decide.ts';
import { compilePolicy } from './policy.ts';
import { Access } from './resources/access.ts';
import { McpServer } from './resources/server.ts';

const caller = parseSpiffeId('spiffe://prod.example/agents/triage');
const notes = McpServer.parse({
  kind: 'McpServer',
  name: 'notes',
  identity: 'spiffe://prod.example/tools/notes',
  address: 'notes:1',
});
const rule = (name: string, blocks: object) =>
  Access.parse({ kind: 'Access', name, who: [caller], servers: ['notes'], ...blocks });
const policy = compilePolicy(
  [
    notes,
    rule('reads', {
      resources: { allow: ['file:///srv/*', 'repo://{owner}/{name}', 'https://*'], deny: ['repo://x/*'] },
      prompts: { allow: ['greet', 'plan_*'], deny: ['plan_secret'] },
      completion: { allow: ['*'], deny: ['repo://{owner}/{other}'] },
    }),
    rule('no-secrets', { resources: { deny: ['file:///srv/secret*', 'https://prod.example/admin*'] } }),
  ],
  1n,
);
const about = (kind: Kind, name: string) => ({ caller, server: 'notes', what: { kind, name } });

test.each<[Kind, string, string | undefined]>([
  ['resource', 'file:///srv/a', 'reads'],
  ['resource', 'repo://acme/x', 'reads'],
  ['prompt', 'greet', 'reads'],
  ['prompt', 'plan_day', 'reads'],
  ['completion', 'greet', 'reads'],
  ['completion', 'repo://{owner}/{name}', 'reads'],
])('%s %s is allowed', (kind, name, by) => {
  expect(decide(policy, about(kind, name))).toMatchObject({ allow: true, rule: by });
  expect(mayCall(policy, about(kind, name))).toBe('yes');
});

test.each<[Kind, string, string | undefined, RegExp]>([
  ['resource', 'file:///srv/secret/a', 'no-secrets', /does not let .* read resource file:.*secret\*$/],
  ['resource', 'repo://x/y', 'reads', /does not let .*: repo:\/\/x\/\*$/],
  ['resource', 'file:///etc/passwd', undefined, /^no Access rule lets .* read resource file:/],
  ['resource', 'file:///srv/../etc/passwd', undefined, /has a dot segment$/],
  ['resource', 'https://prod.example:443/admin', undefined, /has a port/],
  ['resource', 'HTTPS://prod.example/admin', undefined, /has a scheme with upper-case letters$/],
  ['resource', 'greet', undefined, /has no scheme$/],
  ['prompt', 'plan_secret', 'reads', /does not let .* get prompt plan_secret of server notes: plan_secret$/],
  ['prompt', 'greet\u200b', undefined, /the prompt's name has characters that cannot be seen/],
  ['prompt', 'file:///srv/a', undefined, /^no Access rule lets/],
  ['completion', 'repo://{owner}/{other}', 'reads', /does not let .* complete arguments of repo:/],
  // Rules about one kind say nothing about another.
  ['tool', 'greet', undefined, /^no Access rule lets .* call tool greet/],
])('%s %s is denied', (kind, name, by, reason) => {
  expect(decide(policy, about(kind, name))).toEqual({
    allow: false,
    rule: by,
    reason: expect.stringMatching(reason),
  });
  expect(mayCall(policy, about(kind, name))).toBe('no');
});

test('a subscription needs a rule of its own, and one that lets its caller read the resource now', () => {
  const late = 'now > timestamp("2030-01-01T00:00:00Z")';
  const of = (...rules: Parameters<typeof rule>[]) =>
    compilePolicy([notes, ...rules.map((each) => rule(...each))], 1n);
  const decided = (blocks: Parameters<typeof rule>[]) => {
    const call = { caller, server: 'notes', what: subscriptionTo('file:///srv/a'), now: new Date(0) };
    return [decide(of(...blocks), call).allow, mayCall(of(...blocks), call)];
  };
  const reads: Parameters<typeof rule> = ['reads', { resources: { allow: ['file:///srv/*'] } }];
  const tells: Parameters<typeof rule> = ['tells', { subscriptions: { allow: ['file:///*'] } }];
  expect(decided([reads, tells])).toEqual([true, 'yes']);
  expect(decided([reads])).toEqual([false, 'no']);
  expect(decided([reads, ['x', { ...tells[1], when: late }]])).toEqual([false, 'no']);
  expect(decided([tells, ['p', { prompts: { allow: ['*'] } }]])).toEqual([false, 'no']);
  expect(decided([['reads', { ...reads[1], when: late }], tells])).toEqual([false, 'no']);
  expect(decided([reads, tells, ['no', { subscriptions: { deny: ['*/a'] } }]])).toEqual([false, 'no']);
  // A denial whose condition cannot be decided denies.
  const unknown = { resources: { deny: ['*/a'] }, when: 'source == "10.0.0.1"' };
  expect(decided([reads, tells, ['no', unknown]])[0]).toBe(false);
  expect(decideServer(of(tells), { caller }, 'notes').allow).toBe(false);
});

test('a task needs a rule of its own, and one that may let its caller call the tool', () => {
  const of = (...blocks: object[]) => {
    const rules = blocks.map((each, at) => rule(`r${at}`, each));
    const policy = compilePolicy([notes, ...rules], 1n);
    return decide(policy, { caller, server: 'notes', what: taskBy('echo') }).allow;
  };
  const [calls, tasks] = [{ tools: { allow: ['echo'] } }, { tasks: { allow: ['*'] } }];
  expect(of(calls, tasks)).toBe(true);
  // What was decided by its arguments stays as it was.
  expect(of({ ...calls, when: 'args.a == 1' }, tasks)).toBe(true);
  for (const blocks of [
    [calls],
    [tasks, { prompts: { allow: ['*'] } }],
    [calls, tasks, { tasks: { deny: ['echo'] } }],
  ])
    expect(of(...blocks)).toBe(false);
  expect(of(calls, tasks, { tools: { deny: ['echo'] } })).toBe(false);
});

test('a rule about one kind lets its caller in, and a rule that only denies does not', () => {
  expect(decideServer(policy, { caller: caller }, 'notes')).toMatchObject({ allow: true, rule: 'reads' });
  const of = (blocks: object) => compilePolicy([notes, rule('a', blocks)], 1n);
  expect(decideServer(of({ prompts: { allow: ['x'] } }), { caller: caller }, 'notes').allow).toBe(true);
  expect(decideServer(of({ prompts: { deny: ['x'] } }), { caller: caller }, 'notes').allow).toBe(false);
  const rules = of({ prompts: { allow: ['x'] }, resources: { deny: ['*'] } }).rulesFor(
    { caller: caller },
    'notes',
  );
  const kinds: Kind[] = ['tool', 'resource', 'prompt', 'completion'];
  expect(kinds.map((kind) => rules.entranceOf(kind))).toEqual([undefined, undefined, 'a', undefined]);
});

test.each([
  ['file:///{path}', true],
  ['file:///srv/{path}', true],
  ['repo://{owner}/{name}', true],
  ['file:///srv/secret/{path}', false],
  ['repo://x/{name}', false],
  ['demo://{id}', false],
])('a list shows template %s: %s', (template, shown) => {
  expect(mayExpand(policy, about('resource', template))).toBe(shown);
  const stranger = parseSpiffeId('spiffe://prod.example/agents/other');
  expect(mayExpand(policy, { ...about('resource', template), caller: stranger })).toBe(false);
});

test('each kind has a list of its own', () => {
  const of = (blocks: object) =>
    compilePolicy([notes, rule('a', blocks)], 1n).rulesFor({ caller: caller }, 'notes');
  const [one, other] = [of({ prompts: { allow: ['x'] } }), of({ resources: { allow: ['x:y'] } })];
  expect(one.listing('prompt')).not.toBe(other.listing('prompt'));
  expect(one.listing('tool')).toBe(other.listing('tool'));
});
