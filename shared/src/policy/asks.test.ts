/** Rules about what a server may ask its client. */
import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../spiffe/id.ts';
import { ASK_KINDS, type Call, type Kind } from './call.ts';
import { decide, decideList, decideServer, inWords, mayCall } from './decide.ts';
import { compilePolicy } from './policy.ts';
import { Access } from './resources/access.ts';
import { McpServer } from './resources/server.ts';

const caller = parseSpiffeId('spiffe://prod.example/agents/triage');
const git = McpServer.parse({
  kind: 'McpServer',
  name: 'git',
  identity: 'spiffe://prod.example/tools/git',
  address: 'git:1',
});
const parsed = (blocks: object, name = 'asks') =>
  Access.parse({ kind: 'Access', name, who: [caller], servers: ['git'], ...blocks });
const TOOLS = { tools: { allow: ['*'] } };
const policyOf = (...rules: readonly object[]) =>
  compilePolicy([git, ...rules.map((blocks, at) => parsed({ ...TOOLS, ...blocks }, `rule-${at}`))], 1n);
const about = (kind: Kind, name: string): Call => ({ caller, server: 'git', what: { kind, name } });
/** The kinds that may be asked during a use. */
const asked = (policy: ReturnType<typeof policyOf>, name: string) =>
  ASK_KINDS.filter((kind) => decide(policy, about(kind, name)).allow);

test('no rule, no question, whatever else is allowed', () => {
  const everyUse = { tools: { allow: ['*'] }, prompts: { allow: ['*'] }, resources: { allow: ['*'] } };
  const policy = policyOf(everyUse);
  for (const name of ['deploy', '']) expect(asked(policy, name)).toEqual([]);
  for (const kind of ASK_KINDS) {
    expect(decideList(policy, { caller, server: 'git' }, kind).allow).toBe(false);
    expect(mayCall(policy, about(kind, 'deploy'))).toBe('no');
  }
});

test.each<[object, readonly Kind[]]>([
  [{ sampling: { allow: ['deploy'] } }, ['sampling']],
  [{ elicitation: { allow: ['deploy'] } }, ['elicitation']],
  [{ elicitation: { allow: ['deploy'], modes: ['url'] } }, ['elicitation-url']],
  [{ elicitation: { allow: ['deploy'], modes: ['form', 'url'] } }, ['elicitation', 'elicitation-url']],
  [{ roots: true }, ['roots']],
  [{ sampling: { allow: ['other'] }, elicitation: { allow: ['deploy_*'] } }, []],
])('%j allows %j during deploy', (blocks, kinds) => {
  expect(asked(policyOf(blocks), 'deploy')).toEqual(kinds);
});

test('a deny of a rule beats every allow; of elicitation it covers both modes', () => {
  const allowed = {
    sampling: { allow: ['*'] },
    elicitation: { allow: ['*'], modes: ['form', 'url'] },
  };
  const policy = policyOf(allowed, { elicitation: { deny: ['deploy'] } });
  expect(asked(policy, 'deploy')).toEqual(['sampling']);
  expect(asked(policy, 'plan')).toEqual(['sampling', 'elicitation', 'elicitation-url']);
  expect(decide(policy, about('elicitation-url', 'deploy'))).toMatchObject({
    rule: 'rule-1',
    reason: expect.stringMatching(/^rule-1 does not let .* be asked for elicitation by URL during deploy of/),
  });
});

test('what belongs to no request needs a rule for all', () => {
  expect(asked(policyOf({ sampling: { allow: ['deploy*'] }, roots: true }), '')).toEqual(['roots']);
  expect(asked(policyOf({ sampling: { allow: ['*'] } }), '')).toEqual(['sampling']);
  const sampling = about('sampling', '');
  expect(decide(policyOf({}), sampling)).toMatchObject({
    reason: `no Access rule lets ${caller} be asked for sampling of server git`,
  });
  expect(inWords({ kind: 'tool', name: '' })).toBe('call tool ');
});

test('a condition narrows it, and one on arguments is refused', () => {
  const policy = policyOf({ sampling: { allow: ['*'] }, when: 'source == "192.0.2.1"' });
  const from = (source: string) => decide(policy, { ...about('sampling', 'deploy'), source }).allow;
  expect([from('192.0.2.1'), from('192.0.2.2')]).toEqual([true, false]);
  for (const blocks of [{ sampling: { allow: ['*'] } }, { elicitation: { allow: ['*'] } }, { roots: true }])
    expect(() => parsed({ ...blocks, when: 'args.a == 1' })).toThrow(/args is known of calls of tools only/);
});

test('what a server may ask is no reason to come in', () => {
  const policy = compilePolicy(
    [git, parsed({ sampling: { allow: ['*'] }, elicitation: { allow: ['*'] }, roots: true })],
    1n,
  );
  expect(decideServer(policy, { caller }, 'git').allow).toBe(false);
  expect(asked(policy, 'deploy')).toEqual([]);
});

describe('a rule', () => {
  test.each([
    ['an elicitation that says nothing', { elicitation: {} }, /allows or denies something/],
    ['modes alone', { elicitation: { modes: ['url'] } }, /allows or denies something/],
    ['no mode', { elicitation: { allow: ['*'], modes: [] } }, /modes/],
    ['another mode', { elicitation: { allow: ['*'], modes: ['app'] } }, /modes/],
    ['a sampling that says nothing', { sampling: {} }, /allows or denies something/],
    ['roots: false', { roots: false }, /roots/],
    ['a key of approvals', { sampling: { allow: ['*'], approval: 'required' } }, /approval/],
    ['a pattern that is none', { elicitation: { allow: ['/(/'] } }, /not an RE2 regex/],
    ['nothing', {}, /at least one of tools, .* sampling, elicitation, roots/],
  ])('with %s is refused', (_, blocks, message) => {
    expect(() => parsed(blocks)).toThrow(message);
  });

  test('with one of them alone is one', () => {
    for (const blocks of [{ roots: true }, { sampling: { deny: ['x'] } }, { elicitation: { deny: ['x'] } }])
      expect(() => parsed(blocks)).not.toThrow();
  });
});
