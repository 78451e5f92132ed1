import type { JsonObject } from '@chancery/shared/ground/json.ts';
import type { Notification, Request } from '@chancery/shared/mcp/message.ts';
import { describe, expect, test } from 'vitest';
import { mayAsk, told } from './told.ts';

const all = () => true;
const notification = (method: string): Notification => ({ kind: 'notification', method, params: undefined });

describe('told', () => {
  test.each([
    ['notifications/cancelled', true],
    ['notifications/progress', true],
    ['notifications/tools/list_changed', true],
    ['notifications/message', false],
    ['notifications/resources/updated', false],
    ['notifications/elicitation/complete', false],
  ])('a server may say %s: %s', (method, may) => {
    const message = notification(method);
    expect(told(message, undefined, all)).toEqual(may ? message : undefined);
  });

  test('a server may log at the levels that a rule lets pass', () => {
    const log = (level: unknown): Notification => ({
      kind: 'notification',
      method: 'notifications/message',
      params: { level, data: 'x' } as JsonObject,
    });
    const passes = (level: unknown) => told(log(level), undefined, (each) => each === 'error') !== undefined;
    expect(['error', 'debug', 7, undefined].map(passes)).toEqual([true, false, false, false]);
  });

  test('a subscription carries only the notifications that it asked for', () => {
    const method = 'subscriptions/listen';
    const listening: Request = { kind: 'request', id: 1, method, params: undefined };
    expect(told(notification('notifications/progress'), listening, all)).toBeUndefined();
    expect(told(notification('notifications/tools/list_changed'), listening, all)).toBeDefined();
  });
});

test('a server may ask whether its client is there, and nothing else', () => {
  const methods = ['ping', 'sampling/createMessage', 'elicitation/create', 'roots/list'];
  expect(methods.filter(mayAsk)).toEqual(['ping']);
});
