import type { JsonObject } from '@chancery/shared/ground/json.ts';
import type { Request, Response } from '@chancery/shared/mcp/message.ts';
import { expect, test } from 'vitest';
import { StdioSession } from './session.ts';

const initialize: Request = { kind: 'request', id: 0, method: 'initialize', params: { capabilities: {} } };
const answer = (result: JsonObject): Response => ({ kind: 'response', id: 0, result, error: undefined });

test('a session is begun again with the same words, under an id that no client uses', () => {
  const session = new StdioSession(initialize);
  expect(session.initialize).toBe(0);
  expect(session.again).toEqual({ ...initialize, id: expect.stringMatching(/^[0-9a-f-]{36}$/) });
  expect(new StdioSession(session.again).again.id).not.toBe(session.again.id);
});

test('a session has no headers before its answer', () => {
  expect(new StdioSession(initialize).headers()).toEqual({});
});

test.each<[string, string | undefined, JsonObject, object]>([
  ['both', 's', { protocolVersion: 'v' }, { 'mcp-session-id': 's', 'mcp-protocol-version': 'v' }],
  ['a version alone', undefined, { protocolVersion: 'v' }, { 'mcp-protocol-version': 'v' }],
  ['an id alone', 's', {}, { 'mcp-session-id': 's' }],
  ['a version that is not text', 's', { protocolVersion: 7 }, { 'mcp-session-id': 's' }],
])('of an answer with %s, a session has what is there', (_name, id, result, headers) => {
  const session = new StdioSession(initialize);
  session.begun(id, answer(result));
  expect(session.headers()).toEqual(headers);
});

test('a refusal begins a session without a version', () => {
  const session = new StdioSession(initialize);
  session.begun(undefined, {
    ...{ kind: 'response', id: 0, result: undefined },
    error: { code: -1, message: 'no' },
  });
  expect(session.headers()).toEqual({});
});
