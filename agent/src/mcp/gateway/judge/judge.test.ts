import type { JsonObject } from '@chancery/shared/ground/json.ts';
import type { Era } from '@chancery/shared/mcp/era.ts';
import type { Message, Notification, Request } from '@chancery/shared/mcp/message.ts';
import { toolNamed } from '@chancery/shared/policy/call.ts';
import { compileWhen, type When } from '@chancery/shared/policy/condition/when.ts';
import { compileToolPattern } from '@chancery/shared/policy/patterns/tool.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { type Line, type Lines, Rules } from '@chancery/shared/policy/rules.ts';
import { describe, expect, test } from 'vitest';
import { NOW } from '../../../../../test/kit/certificates.ts';
import { policyFor, TRIAGE } from '../../../../../test/kit/mcp/world/world.ts';
import { deniedMeanwhile, judge } from './judge.ts';

const HELD = { uris: new Set<string>(), left: 9 };
const NO_TASKS = { toolOf: () => undefined, isFull: false };

const policy = policyFor(1, { allow: ['echo', 'get-*'], deny: ['get-env'] });
const entered = { allow: true, rule: 'triage', reason: 'entered' } as const;
const SAYS_ALL = { instructions: true, logs: true };
const SAYS_LITTLE = { instructions: false, logs: false };

const request = (method: string, params?: JsonObject): Request => ({
  kind: 'request',
  id: 1,
  method,
  params,
});
const notification = (method: string): Notification => ({ kind: 'notification', method, params: undefined });

const verdict = (message: Message, era: Era, freeText = SAYS_ALL) => {
  const where = {
    caller: TRIAGE,
    server: 'everything',
    now: NOW,
    session: undefined,
    held: HELD,
    tasks: NO_TASKS,
  };
  return judge(policy, { ...where, era, freeText }, entered, message);
};
const passes = (message: Message, era: Era, freeText = SAYS_ALL): boolean =>
  verdict(message, era, freeText).decision.allow;

describe('judge', () => {
  test.each([
    ['echo', true, 'triage'],
    ['get-sum', true, 'triage'],
    ['get-env', false, 'triage'],
    ['other', false, undefined],
  ])('decides a call of %s by the rules: %s', (name, allow, rule) => {
    const { decision, use } = verdict(request('tools/call', { name, arguments: { a: 1 } }), 'legacy');
    expect(decision).toMatchObject({ allow, rule });
    expect(use).toEqual({ kind: 'tool', name, arguments: { a: 1 } });
  });

  test('a call whose tool cannot be read is refused, not decided', () => {
    expect(() => verdict(request('tools/call', {}), 'legacy')).toThrow(/names no tool/);
  });

  const listen = request('subscriptions/listen', { notifications: { toolsListChanged: true } });
  const listenToMore = request('subscriptions/listen', { notifications: { promptsListChanged: true } });
  test.each<[string, Message, legacy: boolean, modern: boolean]>([
    ['initialize', request('initialize'), true, true],
    ['ping', request('ping'), true, true],
    ['server/discover', request('server/discover'), true, true],
    ['tools/list', request('tools/list'), true, true],
    ['a subscription to the list of tools', listen, false, true],
    ['a subscription to something else', listenToMore, false, false],
    ['logging/setLevel', request('logging/setLevel', { level: 'info' }), true, false],
    ['resources/list', request('resources/list'), false, false],
    ['prompts/list', request('prompts/list'), false, false],
    ['resources/read', request('resources/read', { uri: 'file:///a' }), false, false],
    ['resources/subscribe', request('resources/subscribe', { uri: 'file:///a' }), false, false],
    ['a notification as a request', request('notifications/initialized'), false, false],
    ['notifications/initialized', notification('notifications/initialized'), true, true],
    ['notifications/cancelled', notification('notifications/cancelled'), true, true],
    ['notifications/progress', notification('notifications/progress'), true, true],
    ['notifications/roots/list_changed', notification('notifications/roots/list_changed'), true, true],
    ['tools/list as a notification', notification('tools/list'), false, false],
    ['tools/call as a notification', notification('tools/call'), false, false],
    ['a name of an object', request('constructor'), false, false],
    ['a response', { kind: 'response', id: 1, result: {}, error: undefined }, true, true],
  ])('%s', (_name, message, legacy, modern) => {
    expect([passes(message, 'legacy'), passes(message, 'modern')]).toEqual([legacy, modern]);
  });

  test('a method that no rule can allow is denied with that reason', () => {
    expect(verdict(request('tasks/get'), 'modern').decision).toEqual({
      allow: false,
      rule: undefined,
      reason: 'no kind of rule can allow tasks/get',
    });
  });

  test('no level is set for logs that do not pass', () => {
    expect(passes(request('logging/setLevel', { level: 'info' }), 'legacy', SAYS_LITTLE)).toBe(false);
  });
});

test('what is forwarded announces nothing a server could ask for', () => {
  const key = 'io.modelcontextprotocol/clientCapabilities';
  const all = { sampling: {}, elicitation: {}, roots: {} };
  const forwarded = (method: string, params: JsonObject) =>
    verdict(request(method, params), 'modern').forwarded;
  expect(forwarded('initialize', { protocolVersion: 'x', capabilities: all })).toMatchObject({
    params: { protocolVersion: 'x', capabilities: {} },
  });
  for (const method of ['ping', 'server/discover', 'tools/list', 'tools/call'])
    expect(forwarded(method, { name: 'echo', _meta: { [key]: all, x: 1 } })).toEqual(
      request(method, { name: 'echo', _meta: { [key]: {}, x: 1 } }),
    );
});

test('what is forwarded of a subscription is what there are rules for', () => {
  const key = 'io.modelcontextprotocol/clientCapabilities';
  const _meta = { [key]: { sampling: {} } };
  const notifications = { toolsListChanged: true, resourceSubscriptions: ['a:b'] };
  expect(verdict(request('subscriptions/listen', { notifications, _meta }), 'modern').forwarded).toEqual(
    request('subscriptions/listen', { notifications: { toolsListChanged: true }, _meta: { [key]: {} } }),
  );
});

test('arguments that are null are forwarded as they are decided', () => {
  const { use, forwarded } = verdict(request('tools/call', { name: 'echo', arguments: null }), 'legacy');
  expect(use?.arguments).toEqual({});
  expect(forwarded).toEqual(request('tools/call', { name: 'echo', arguments: {} }));
});

const line = (rule: string, pattern: string, when?: When): Line => ({
  rule,
  kind: 'tool',
  pattern: compileToolPattern(pattern),
  ...(when === undefined ? {} : { when }),
});
const acme = compileWhen('args.owner == "acme"');
const of = (lines: Partial<Lines>): Policy => ({
  ...policyFor(1, { allow: ['*'] }),
  rulesFor: () => new Rules({ allow: [], ask: [], deny: [], ...lines }),
});
test.each<[string, Partial<Lines>, string | undefined]>([
  ['allowed', { allow: [line('a', '*')] }, undefined],
  ['allowed by its arguments', { allow: [line('a', '*', acme)] }, undefined],
  ['not denied by its arguments', { allow: [line('a', '*')], deny: [line('d', '*', acme)] }, undefined],
  ['denied', { allow: [line('a', '*')], deny: [line('d', 'echo')] }, 'd'],
  ['allowed by no rule', { allow: [line('a', 'get-*')] }, 'none'],
  ['only allowed with an approval', { allow: [line('a', '*')], ask: [line('q', 'echo')] }, 'q'],
])('an open call whose tool is %s by now', (_name, lines, rule) => {
  const denied = deniedMeanwhile(of(lines), {
    caller: TRIAGE,
    server: 'everything',
    what: toolNamed('echo'),
  });
  expect(denied && (denied.rule ?? 'none')).toBe(rule);
  expect(denied?.approval).toBe(rule === 'q' ? 'nobody' : undefined);
});
