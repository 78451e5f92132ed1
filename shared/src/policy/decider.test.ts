import { afterEach, expect, test, vi } from 'vitest';
import { countEvaluations } from '../../../test/kit/mcp/evaluations.ts';
import { parseSpiffeId } from '../spiffe/id.ts';
import { subscriptionTo, toolNamed } from './call.ts';
import { decide, mayCall, mayExpand } from './decide.ts';
import { deciderOf, ensureFew, MAX_EVALUATIONS } from './decider.ts';
import { compilePolicy } from './policy.ts';
import { Access } from './resources/access.ts';
import { McpServer } from './resources/server.ts';

const caller = parseSpiffeId('spiffe://prod.example/agents/triage');
const attested = { platform: 'kubernetes', attributes: new Map([['kubernetes.team', 'red']]) };
const where = { caller, server: 's', now: new Date(), attested, source: '10.0.0.1' };
const server = McpServer.parse({ kind: 'McpServer', name: 's', identity: caller, address: 's:1' });
const policyOf = (...rules: object[]) =>
  compilePolicy(
    [
      server,
      ...rules.map((rule, n) =>
        Access.parse({ kind: 'Access', name: `r${n}`, who: [caller], servers: ['s'], ...rule }),
      ),
    ],
    1n,
  );

afterEach(() => {
  vi.restoreAllMocks();
});

const RED = 'caller.attributes.kubernetes.team == "red" && now > timestamp("2020-01-01T00:00:00Z")';
const LOCAL = 'source == "127.0.0.1"';
const ARGS = 'args.n == 1 && server == "s"';
const SHORT = 'tool.size() < 3 && server == "s"';
const EITHER = 'tool == "t7" || args.n == 2';

const mixed = policyOf(
  { when: RED, tools: { allow: ['t*'] }, resources: { allow: ['file:///r/**'] } },
  { when: LOCAL, tools: { deny: ['t1*'] }, subscriptions: { allow: ['file:///r/**'] } },
  { when: RED, subscriptions: { allow: ['file:///r/a*'] } },
  { when: ARGS, tools: { allow: ['u*'] } },
  { when: SHORT, tools: { allow: ['v*'] } },
  { when: EITHER, tools: { deny: ['t7*'] } },
);

test('its answers are those for each alone, in any order', () => {
  const tools = ['t1', 't11', 'u1', 'u2', 'v1', 'v234', 'v2', 't7', 't8', 't71', 'x'].map(toolNamed);
  const others = ['a', 'b'].map((name) => subscriptionTo(`file:///r/${name}`));
  const decider = deciderOf(mixed, where);
  for (const what of [...tools, ...others, ...tools.toReversed()]) {
    expect(decider.mayCall(what)).toBe(mayCall(mixed, { ...where, what }));
    expect(decider.decide(what)).toEqual(decide(mixed, { ...where, what }));
  }
  for (const name of ['file:///r/{x}', 'file:///s/{x}'])
    expect(decider.mayExpand(name)).toBe(mayExpand(mixed, { ...where, what: { kind: 'resource', name } }));
});

test('a condition is evaluated once, and once for each tool if it reads tool', () => {
  const [once, ofTool] = [countEvaluations([RED, LOCAL, ARGS]), countEvaluations([SHORT])];
  const decider = deciderOf(mixed, where);
  for (let n = 0; n < 100; n += 1) {
    for (const what of [`t${n}`, `u${n}`, `v${n}`].map(toolNamed)) {
      decider.mayCall(what);
      decider.decide(what);
    }
    decider.decide(subscriptionTo(`file:///r/a${n}`));
  }
  expect([once(), ofTool()]).toEqual([3, 100]);
});

test('more evaluations than the bound are too many', () => {
  const ofTool = Array.from({ length: 251 }, (_, n) => `tool == "x${n}"`);
  const decider = deciderOf(policyOf(...ofTool.map((when) => ({ when, tools: { allow: ['*'] } }))), where);
  for (let n = 0; n < 99; n += 1) decider.mayCall(toolNamed(`t${n}`));
  ensureFew(decider, 'a page');
  decider.mayCall(toolNamed('t99'));
  expect(decider.evaluated).toBe(25_100);
  expect(() => ensureFew(decider, 'a page')).toThrow(`a page needs more than ${MAX_EVALUATIONS} evaluations`);
});
