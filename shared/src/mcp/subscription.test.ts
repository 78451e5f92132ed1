import { expect, test } from 'vitest';
import type { Notification, Request } from './message.ts';
import { acknowledgesTools, listensToTools, narrowListen, onSubscription, resultOf } from './subscription.ts';

const KEY = 'io.modelcontextprotocol/subscriptionId';
const listen = (notifications: object): Request => ({
  kind: 'request',
  id: 7,
  method: 'subscriptions/listen',
  params: { notifications: { ...notifications }, _meta: {} },
});
const say = (method: string, params: Notification['params']): Notification => ({
  kind: 'notification',
  method,
  params,
});

test('a subscription to the list of tools is passed on without the rest of its filter', () => {
  const request = listen({
    toolsListChanged: true,
    resourceSubscriptions: ['a:b'],
    promptsListChanged: true,
  });
  expect(listensToTools(request)).toBe(true);
  expect(narrowListen(request).params).toEqual({ notifications: { toolsListChanged: true }, _meta: {} });
  for (const filter of [{}, { toolsListChanged: false }, { resourceSubscriptions: ['a:b'] }])
    expect(listensToTools(listen(filter))).toBe(false);
});

test('its stream has the acknowledgement and changes of the list, built anew, and nothing else', () => {
  const meta = { [KEY]: 7 };
  const acknowledged = say('notifications/subscriptions/acknowledged', {
    notifications: { toolsListChanged: true, hidden: 'get-env' },
    _meta: { [KEY]: 1, hidden: 'get-env' },
  });
  const passed = onSubscription(7, acknowledged);
  expect(passed?.params).toEqual({ notifications: { toolsListChanged: true }, _meta: meta });
  expect(passed && acknowledgesTools(passed)).toBe(true);
  const changed = say('notifications/tools/list_changed', { hidden: 'get-env' });
  expect(onSubscription(7, changed)?.params).toEqual({ _meta: meta });
  for (const method of ['notifications/message', 'notifications/resources/updated'])
    expect(onSubscription(7, say(method, {}))).toBeUndefined();
});

test('the result that ends it names it', () => {
  const asked = { method: 'subscriptions/listen', requestId: 7 };
  expect(resultOf(asked, { _meta: { a: 1 } })).toEqual({ _meta: { a: 1, [KEY]: 7 } });
  expect(resultOf({ ...asked, method: 'ping' }, {})).toEqual({});
});
