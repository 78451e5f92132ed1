import type { Notification, Request } from '@chancery/shared/mcp/message.ts';
import { describe, expect, test } from 'vitest';
import { mayAsk, told } from './told.ts';

const SAYS_ALL = { instructions: true, logs: true };
const SAYS_LITTLE = { instructions: false, logs: false };
const notification = (method: string): Notification => ({ kind: 'notification', method, params: undefined });

describe('told', () => {
  test.each([
    ['notifications/cancelled', true, true],
    ['notifications/progress', true, true],
    ['notifications/tools/list_changed', true, true],
    ['notifications/message', true, false],
    ['notifications/resources/updated', false, false],
    ['notifications/elicitation/complete', false, false],
  ])('a server may say %s: %s, without logs %s', (method, all, little) => {
    const message = notification(method);
    const pass = [SAYS_ALL, SAYS_LITTLE].map((freeText) => told(message, undefined, freeText));
    expect(pass).toEqual([all, little].map((passed) => (passed ? message : undefined)));
  });

  test('a subscription carries only the notifications that it asked for', () => {
    const method = 'subscriptions/listen';
    const listening: Request = { kind: 'request', id: 1, method, params: undefined };
    expect(told(notification('notifications/progress'), listening, SAYS_ALL)).toBeUndefined();
    expect(told(notification('notifications/tools/list_changed'), listening, SAYS_ALL)).toBeDefined();
  });
});

test('a server may ask whether its client is there, and nothing else', () => {
  const methods = ['ping', 'sampling/createMessage', 'elicitation/create', 'roots/list'];
  expect(methods.filter(mayAsk)).toEqual(['ping']);
});
