import { request } from 'node:http';
import type { JsonObject } from '@chancery/shared/ground/json.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { answerEmpty, type OpenGate, openGate } from '../../../../../test/kit/mcp/world/open-gate.ts';
import { policyFor } from '../../../../../test/kit/mcp/world/world.ts';
import type { Session } from '../sessions.ts';

let open: OpenGate;
let session: Session;
beforeEach(async () => {
  open = await openGate({ bodies: { perCaller: 30_000, total: 30_000 } });
  session = open.session();
});
afterEach(() => open.close());

const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
};
const call = (id: number, params: JsonObject = {}) => ({
  id,
  method: 'tools/call',
  params: { name: 'echo', ...params },
});
const MODERN = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'echo' };
const inSession = (body: string | object, headers: Record<string, string> = {}) =>
  open.ask({ body, headers: { 'mcp-session-id': session.id, ...headers } });

describe('a message', () => {
  test('goes to the server as it was read, with the session and headers that are its', async () => {
    const { status, text } = await inSession(call(1), { 'mcp-protocol-version': '2025-11-25', cookie: 'x' });
    expect([status, JSON.parse(text)]).toEqual([200, { jsonrpc: '2.0', id: 1, result: {} }]);
    expect(open.passed).toMatchObject([{ how: 'send' }]);
    expect(open.passed[0]?.outbound).toEqual({
      caller: session.caller,
      era: 'legacy',
      message: expect.objectContaining({ id: 1, method: 'tools/call', params: { name: 'echo' } }),
      session: 'of the server',
      headers: { 'mcp-protocol-version': '2025-11-25' },
    });
    expect(session.pending.size).toBe(0);
  });

  test('of the modern era has headers made from it, and those of its parameters', async () => {
    await open.ask({
      body: call(1, { _meta: META }),
      headers: { ...MODERN, 'mcp-param-city': 'Rome', 'mcp-other': 'x' },
    });
    expect(open.passed[0]?.outbound).toMatchObject({ era: 'modern', session: undefined });
    expect(open.passed[0]?.outbound.headers).toEqual({ ...MODERN, 'mcp-param-city': 'Rome' });
  });

  test.each<[string, string | object, Record<string, string>, string]>([
    ['another type', call(1), { 'content-type': 'text/plain' }, 'mcp_media'],
    ['no JSON to be accepted', call(1), { accept: 'text/event-stream' }, 'mcp_accept'],
    ['no stream to be accepted', call(1), { accept: 'application/json' }, 'mcp_accept'],
    ['more bytes than the gateway takes', ' '.repeat(10_001), {}, 'mcp_size'],
    ['no message', '{}', {}, 'mcp_parse'],
    ['an unknown session', call(1), { 'mcp-session-id': 'x' }, 'mcp_session'],
    ['a response to nothing', { id: 1, result: {} }, {}, 'mcp_parse'],
    [
      'another method in its header',
      call(1, { _meta: META }),
      { ...MODERN, 'mcp-method': 'ping' },
      'mcp_headers',
    ],
  ])('with %s is refused, and its body is let go', async (_name, body, headers, code) => {
    const text = typeof body === 'string' ? body : JSON.stringify({ jsonrpc: '2.0', ...body });
    // Were they held, so many would be too many.
    for (let n = 0; n < 20; n += 1) await open.ask({ body: text.padEnd(3_000), headers });
    expect([new Set(open.codes), open.passed]).toEqual([new Set([code]), []]);
  });

  test('that is denied is answered, and not passed on', async () => {
    open.policy.publish(policyFor(1, { allow: ['other'] }, 2n));
    for (let n = 0; n < 20; n += 1) {
      const { status, text } = await inSession(call(1, { arguments: { text: 'x'.repeat(3_000) } }));
      expect([status, JSON.parse(text).error.code, open.passed]).toEqual([200, -31403, []]);
    }
    expect(session.pending.size).toBe(0);
  });
});

test('a request whose id waits for an answer is refused, and the first goes on', async () => {
  const waiting = Promise.withResolvers<void>();
  open.serve = (passed) => void waiting.promise.then(() => answerEmpty(passed));
  const first = inSession(call(1));
  await expect.poll(() => open.passed.length).toBe(1);
  expect((await inSession(call(1))).status).toBe(400);
  waiting.resolve();
  expect((await first).status).toBe(200);
  expect([open.codes, open.passed.length]).toEqual([['mcp_parse'], 1]);
});

test('no more sessions are asked for than there is room', async () => {
  open.session();
  open.session();
  await open.ask({ body: { id: 1, method: 'initialize', params: {} } });
  expect([open.codes, open.passed]).toEqual([['mcp_sessions'], []]);
});

test('a response is passed on where the server asked for it in this session, once', async () => {
  session.questions.addPing('p');
  const response = { id: 'p', result: {} };
  expect((await inSession(response)).status).toBe(202);
  await inSession(response);
  expect([open.passed.length, open.codes]).toEqual([1, ['mcp_parse']]);
});

test('an answer to a question whose request is over is refused, and the server is told', async () => {
  const asked = { asked: 's', method: 'roots/list', asks: 'roots' as const, paramsSha256: undefined };
  const over = { requestId: 99, what: { kind: 'tool' as const, name: 'echo' } };
  const { id } = session.questions.add({ ...asked, during: [over] }, 'record');
  expect((await inSession({ id, result: { roots: [] } })).status).toBe(400);
  expect(open.passed).toEqual([]);
  expect(open.refused).toMatchObject([{ id: 's', error: { code: -31403 } }]);
});

test('a request that its client cancels is marked, and the server is told', async () => {
  const waiting = Promise.withResolvers<void>();
  open.serve = (passed) => {
    if (passed.outbound.message?.kind === 'request') void waiting.promise.then(() => answerEmpty(passed));
    else answerEmpty(passed);
  };
  const first = inSession(call(1));
  await expect.poll(() => open.passed.length).toBe(1);
  const cancel = (requestId: number) =>
    inSession({ method: 'notifications/cancelled', params: { requestId } });
  await cancel(9);
  expect(session.pending.get(1)?.cancelled).toBeUndefined();
  await cancel(1);
  expect(session.pending.get(1)?.cancelled).toBe(true);
  waiting.resolve();
  await first;
  expect(open.passed).toHaveLength(3);
});

test('a failure of the server fails the request', async () => {
  open.serve = () => {
    throw new TypeError('odd');
  };
  const { status, text } = await inSession(call(1));
  expect([status, JSON.parse(text).error.code, open.codes]).toEqual([500, -32603, []]);
});

test('a client that waits for 100 is asked for its body, unless its head is refused', async () => {
  const { port } = open;
  const ask = (type: string): Promise<readonly [boolean, number | undefined]> =>
    new Promise((resolve, reject) => {
      const headers = {
        ...{ expect: '100-continue', 'content-type': type, 'mcp-session-id': session.id },
        accept: 'application/json, text/event-stream',
      };
      const outgoing = request({
        host: '127.0.0.1',
        port,
        path: '/mcp',
        method: 'POST',
        headers,
        agent: false,
      });
      let continued = false;
      outgoing.on('continue', () => {
        continued = true;
        outgoing.end(JSON.stringify({ jsonrpc: '2.0', ...call(1) }));
      });
      outgoing.on('error', reject).on('response', (response) => {
        resolve([continued, response.resume().statusCode]);
        outgoing.destroy();
      });
      outgoing.flushHeaders();
    });
  expect(await ask('application/json')).toEqual([true, 200]);
  expect(await ask('text/plain')).toEqual([false, 415]);
});

test('a client that listens for changes of its list is told by the gateway', async () => {
  open.serve = ({ back }) => {
    back.open();
    const params = { notifications: { toolsListChanged: true } };
    const acknowledged = 'notifications/subscriptions/acknowledged';
    back.event({ id: undefined, retry: undefined }, { kind: 'notification', method: acknowledged, params });
    const next = policyFor(1, { allow: ['other'] }, 2n);
    open.policy.publish(next);
    open.gate.listeners.policyChanged(next);
    back.end();
  };
  const method = 'subscriptions/listen';
  const params = { notifications: { toolsListChanged: true }, _meta: META };
  const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': method };
  const { text } = await open.ask({ body: { id: 1, method, params }, headers });
  expect(text).toContain('notifications/tools/list_changed');
});
