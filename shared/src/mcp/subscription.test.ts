import { expect, test } from 'vitest';
import type { JsonObject } from '../ground/json.ts';
import type { Notification, Request } from './message.ts';
import { acknowledgement, changedList, filterOf, listChanged, resultOf, withFilter } from './subscription.ts';

const KEY = 'io.modelcontextprotocol/subscriptionId';
const listen = (notifications: unknown): Request => ({
  kind: 'request',
  id: 7,
  method: 'subscriptions/listen',
  params: { notifications, other: 'x', _meta: { a: 1 } } as JsonObject,
});
const say = (method: string, params: Notification['params']): Notification => ({
  kind: 'notification',
  method,
  params,
});

test('a subscription is read, and passed on with what is granted of it', () => {
  const request = listen({
    toolsListChanged: true,
    promptsListChanged: false,
    resourcesListChanged: true,
    resourceSubscriptions: ['a:b', 'c:d', 'a:b'],
    taskIds: ['x'],
  });
  expect(filterOf(request)).toEqual({ lists: ['tool', 'resource'], uris: ['a:b', 'c:d'] });
  expect(withFilter(request, { lists: ['resource'], uris: ['c:d'] }).params).toEqual({
    notifications: { resourcesListChanged: true, resourceSubscriptions: ['c:d'] },
    _meta: { a: 1 },
  });
  expect(filterOf(listen({}))).toEqual({ lists: [], uris: [] });
});

test.each([
  [undefined, /missing/],
  ['x', /no object/],
  [{ resourceSubscriptions: 'a:b' }, /no list of URIs/],
  [{ resourceSubscriptions: ['a:b', 7] }, /no list of URIs/],
  [{ resourceSubscriptions: ['a\0b'] }, /no list of URIs/],
  [{ resourceSubscriptions: ['\ud800'] }, /no list of URIs/],
  [{ resourceSubscriptions: [''] }, /no list of URIs/],
  [
    { resourceSubscriptions: Array.from({ length: 257 }, (_, at) => `a:${at}`) },
    /257 resources, at most 256/,
  ],
])('a filter that is no filter is refused: %j', (notifications, message) => {
  expect(() => filterOf(listen(notifications))).toThrow(
    expect.objectContaining({ code: 'mcp_parse', message: expect.stringMatching(message) }),
  );
});

test('its stream begins with what the server agrees to of what was asked, built anew', () => {
  const asked = { lists: ['tool', 'prompt'], uris: ['a:b'] } as const;
  const acknowledged = say('notifications/subscriptions/acknowledged', {
    notifications: {
      toolsListChanged: true,
      resourcesListChanged: true,
      resourceSubscriptions: ['a:b', 'e:f', 7],
      hidden: 'get-env',
    },
    _meta: { [KEY]: 1, hidden: 'get-env' },
  });
  const begins = acknowledgement(7, acknowledged, asked);
  expect(begins?.agreed).toEqual({ lists: ['tool'], uris: ['a:b'] });
  const notifications = { toolsListChanged: true, resourceSubscriptions: ['a:b'] };
  expect(begins?.said.params).toEqual({ notifications, _meta: { [KEY]: 7 } });
  const nothing = acknowledgement(7, say('notifications/subscriptions/acknowledged', undefined), asked);
  expect(nothing?.said.params).toEqual({ notifications: {}, _meta: { [KEY]: 7 } });
  expect(acknowledgement(7, listChanged('tool'), asked)).toBeUndefined();
});

test('a change of a list is told by its method', () => {
  expect((['tool', 'resource', 'prompt'] as const).map((each) => changedList(listChanged(each)))).toEqual([
    'tool',
    'resource',
    'prompt',
  ]);
  expect(changedList(say('notifications/resources/updated', {}))).toBeUndefined();
});

test('the result that ends it names it', () => {
  const asked = { method: 'subscriptions/listen', requestId: 7 };
  expect(resultOf(asked, { _meta: { a: 1 } })).toEqual({ _meta: { a: 1, [KEY]: 7 } });
  expect(resultOf({ ...asked, method: 'ping' }, {})).toEqual({});
});
