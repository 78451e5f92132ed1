import type { JsonObject } from '@chancery/shared/ground/json.ts';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { afterEach, expect, test, vi } from 'vitest';
import { NOW } from '../../../../../test/kit/certificates.ts';
import { countEvaluations } from '../../../../../test/kit/mcp/evaluations.ts';
import { TOOLS, TRIAGE } from '../../../../../test/kit/mcp/world/world.ts';
import { judge } from './judge.ts';
import { lostOf } from './lost.ts';

const entered = { allow: true, rule: 'notes', reason: 'entered' } as const;
const [A, B] = ['file:///srv/a', 'file:///srv/b'];
const until = new Date(NOW.getTime() + 60_000).toISOString();

function policyOf(blocks: object, observe?: { until: string }) {
  const server = { kind: 'McpServer', name: 'notes', identity: TOOLS, address: 'notes:1' };
  const rule = { kind: 'Access', name: 'notes', who: [TRIAGE], servers: ['notes'], ...blocks };
  const parsed = McpServer.parse(observe === undefined ? server : { ...server, observe });
  return compilePolicy([parsed, Access.parse(rule)], 1n);
}
const policy = policyOf({ resources: { allow: ['file:///srv/*'] }, subscriptions: { allow: [A] } });
const where = { caller: TRIAGE, server: 'notes', now: NOW, session: 's' };

function verdict(
  method: string,
  params: JsonObject,
  {
    held = {},
    by = policy,
    hasSession = true,
  }: { held?: object; by?: typeof policy; hasSession?: boolean } = {},
) {
  const era = method.startsWith('resources/') ? 'legacy' : 'modern';
  const freeText = { instructions: true, logs: true };
  const about = {
    ...where,
    session: hasSession ? 's' : undefined,
    era,
    freeText,
    held: { uris: new Set<string>(), left: 9, ...held },
  } as const;
  const tasks = { toolOf: () => undefined, isFull: false };
  return judge(by, { ...about, tasks }, entered, { kind: 'request', id: 1, method, params });
}
const listen = (notifications: JsonObject, options?: Parameters<typeof verdict>[2]) =>
  verdict('subscriptions/listen', { notifications }, options);

afterEach(() => {
  vi.restoreAllMocks();
});

test('a condition is evaluated once for all resources of a request, and of what a new policy takes', () => {
  const when = 'source == "10.0.0.1"';
  const by = policyOf({
    when,
    resources: { allow: ['file:///srv/**'] },
    subscriptions: { allow: ['file:///srv/**'] },
  });
  const uris = Array.from({ length: 256 }, (_, at) => `file:///srv/${at}`);
  const evaluated = countEvaluations([when]);
  expect(listen({ resourceSubscriptions: uris }, { by }).decision.allow).toBe(false);
  expect(evaluated()).toBe(1);
  expect(lostOf(by, { ...where, source: '10.0.0.1' }, { lists: [], uris })).toBeUndefined();
  expect(evaluated()).toBe(2);
});

test('a session subscribes to what the rules allow, while it has room', () => {
  const of = (uri: string, held?: object) => verdict('resources/subscribe', { uri }, { held: held ?? {} });
  expect(of(A)).toMatchObject({ decision: { allow: true, rule: 'notes' }, subscribes: 'begin' });
  expect(of(B).decision.allow).toBe(false);
  const full = new Set(Array.from({ length: 256 }, (_, at) => `file:///srv/${at}`));
  for (const held of [{ left: 0 }, { uris: full }])
    expect(of(A, held).decision).toMatchObject({
      allow: false,
      reason: expect.stringMatching(/more resources/),
    });
  expect(of(A, { left: 0, uris: new Set([A]) }).decision.allow).toBe(true);
  expect(verdict('resources/subscribe', { uri: A }, { hasSession: false }).decision).toMatchObject({
    allow: false,
    reason: expect.stringMatching(/this server began none/),
  });
});

test('a session gives up what it has, or may have', () => {
  const of = (uri: string, uris: string[] = []) =>
    verdict('resources/unsubscribe', { uri }, { held: { uris: new Set(uris) } }).decision.allow;
  expect([of(A), of(B), of(B, [B])]).toEqual([true, false, true]);
});

test('of a filter passes what is granted, and the reason says what is not', () => {
  const { decision, listens, forwarded } = listen({
    toolsListChanged: true,
    promptsListChanged: true,
    resourceSubscriptions: [A, B],
  });
  expect(listens).toEqual({ lists: ['tool'], uris: [A] });
  expect(forwarded).toMatchObject({
    params: { notifications: { toolsListChanged: true, resourceSubscriptions: [A] } },
  });
  expect(decision).toMatchObject({
    allow: true,
    reason: expect.stringMatching(
      /listen .* to the list of tools, .*\/a; no rule to the list of prompts, .*\/b$/,
    ),
  });
  expect(listen({ resourceSubscriptions: [B] }).decision).toMatchObject({ allow: false });
  expect(listen({}).decision).toMatchObject({ allow: false, reason: 'the subscription is about nothing' });
  expect(listen({ resourceSubscriptions: [A] }, { held: { left: 0 } }).decision.allow).toBe(false);
});

test('what a server that observes lets pass is marked', () => {
  const by = policyOf({ tools: { allow: ['*'] } }, { until });
  expect(listen({ resourceSubscriptions: [B] }, { by }).decision).toMatchObject({
    allow: true,
    observed: true,
  });
  expect(listen({ toolsListChanged: true }, { by }).decision).not.toHaveProperty('observed');
});

test('what a policy takes of a subscription', () => {
  const granted = { lists: ['tool', 'resource'], uris: [A] } as const;
  expect(lostOf(policy, where, granted)).toBeUndefined();
  expect(lostOf(policyOf({ tools: { allow: ['*'] } }), where, granted)).toBe('the list of resources');
  expect(lostOf(policyOf({ resources: { allow: ['file:///srv/*'] } }), where, granted)).toBe(A);
});
