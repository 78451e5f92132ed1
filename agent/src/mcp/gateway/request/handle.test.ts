import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type OpenGate, openGate } from '../../../../../test/kit/mcp/world/open-gate.ts';
import { policyFor, STRANGER } from '../../../../../test/kit/mcp/world/world.ts';

let open: OpenGate;
beforeEach(async () => {
  open = await openGate();
});
afterEach(() => open.close());

const PING = { id: 1, method: 'ping' };

test.each<[string, Parameters<OpenGate['ask']>[0], number, string]>([
  ['another path', { path: '/mcp/', body: PING }, 404, 'server_unknown'],
  ['a query', { path: '/mcp?x', body: PING }, 404, 'server_unknown'],
  ['PUT', { method: 'PUT', body: PING }, 405, 'mcp_method'],
  ['HEAD', { method: 'HEAD' }, 405, 'mcp_method'],
  [
    'a GET of a modern client',
    { method: 'GET', headers: { 'mcp-protocol-version': '2026-07-28' } },
    405,
    'mcp_method',
  ],
  ['a GET with too large a body', { method: 'GET', body: 'x'.repeat(64 * 1024 + 1) }, 413, 'mcp_size'],
])('%s is refused, and nothing of it is passed on', async (_name, options, status, code) => {
  expect((await open.ask(options)).status).toBe(status);
  expect([open.codes, open.passed]).toEqual([[code], []]);
});

test.each(['POST', 'GET', 'DELETE'])('%s begins once its body is whole, and is passed on', async (method) => {
  open.serve = ({ back }) => {
    back.open();
    back.end();
  };
  const body = method === 'POST' ? PING : 'no message';
  expect((await open.ask({ method, body })).status).toBe(200);
  expect([open.begun, open.passed.length]).toEqual([[1], 1]);
});

describe('a caller that no rule lets in', () => {
  beforeEach(() => open.policy.publish(policyFor(1, { allow: ['*'] }, 7n, [STRANGER])));

  test.each(['POST', 'GET', 'DELETE', 'PUT'])('is denied by the head of its %s', async (method) => {
    const { status, text } = await open.ask({ method, body: 'not read' });
    const { error } = JSON.parse(text);
    const [event] = open.events();
    expect([status, error.code, error.data.decisionId]).toEqual([403, -31403, event?.id]);
    expect(event).toMatchObject({ stage: 'decided', allow: false, httpMethod: method, policyVersion: 7 });
    expect([open.begun, open.passed, open.codes]).toEqual([[0], [], []]);
  });

  test.each<[string, number, string]>([
    ['a short body keeps', 64 * 1024, 'keep-alive'],
    ['a long body loses', 64 * 1024 + 1, 'close'],
  ])('with %s its connection', async (_name, bytes, connection) => {
    const answer = await open.ask({ body: 'x'.repeat(bytes), headers: { connection: 'keep-alive' } });
    expect([answer.status, answer.headers.connection]).toEqual([403, connection]);
  });

  test('with a body whose length is not known loses its connection', async () => {
    const headers = { connection: 'keep-alive', 'transfer-encoding': 'chunked' };
    const answer = await open.ask({ body: 'x', headers });
    expect([answer.status, answer.headers.connection]).toEqual([403, 'close']);
  });
});
