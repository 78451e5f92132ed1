import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { IdentityError, REFUSALS, type Refusal } from '@chancery/shared/ground/errors.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { dataOf, denial, refusalResponse, refuse, writeJson } from './reply.ts';

let server: Server;
let answer: (res: ServerResponse) => void;
beforeEach(async () => {
  server = createServer((_req, res) => answer(res));
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

async function ask(how: (res: ServerResponse) => void, method = 'POST'): Promise<IncomingMessage> {
  answer = how;
  const { port } = server.address() as AddressInfo;
  const outgoing = request({ host: '127.0.0.1', port, method, agent: false }).end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  return response;
}
/** The status, and the JSON. */
async function said(how: (res: ServerResponse) => void, method?: string) {
  const response = await ask(how, method);
  return [response.statusCode, JSON.parse(await text(response)), response.headers] as const;
}
const refusing =
  (code: Refusal, id?: number, data?: object) =>
  (res: ServerResponse): void =>
    refuse(res, new IdentityError(code, 'the detail'), id, data as never);

/** With the id of a request, and whether its client sees the detail. */
const codes: readonly [Refusal, number, number, boolean][] = [
  ['mcp_parse', 400, -32600, true],
  ['mcp_size', 413, -32600, true],
  ['mcp_media', 415, -32600, true],
  ['mcp_accept', 406, -32600, true],
  ['mcp_headers', 400, -32020, true],
  ['mcp_meta', 400, -32602, true],
  ['mcp_version', 400, -32022, true],
  ['mcp_method', 405, -31405, false],
  ['mcp_unknown', 404, -32601, false],
  ['mcp_session', 404, -32001, false],
  ['mcp_call', 403, -31403, false],
  ['mcp_origin', 403, -31403, false],
  ['mcp_upstream', 200, -31502, true],
  ['wrong_peer', 200, -31502, true],
  ['server_unknown', 404, -31404, true],
  ['peer_uid', 403, -31403, false],
  ['peer_unknown', 403, -31403, false],
  ['expired_peer', 401, -31401, false],
  ['revoked_peer', 401, -31401, false],
  ['no_peer', 401, -31401, false],
  ['mcp_sessions', 503, -31503, true],
  ['rate', 503, -31503, false],
  ['unavailable', 503, -31503, false],
  ['internal', 500, -32603, false],
  ['file', 500, -32603, false],
];
test.each(codes)('%s is HTTP %i and %i', async (code, status, rpc, isTold) => {
  const message = isTold ? 'the detail' : REFUSALS[code].says;
  const error = { code: rpc, message };
  const [shown, json, headers] = await said(refusing(code, 7));
  expect([shown, json]).toEqual([status, { jsonrpc: '2.0', id: 7, error }]);
  expect(headers['content-type']).toBe('application/json');
  expect(headers.allow).toBe(code === 'mcp_method' ? 'POST, GET, DELETE' : undefined);
  // In a stream the status is there already.
  expect(refusalResponse(new IdentityError(code, 'the detail'), 7)).toMatchObject({ id: 7, error });
});

test('an outcome that nobody knows says so in its data, with the id of its record where there is one', async () => {
  const error = new IdentityError('mcp_outcome', 'the detail');
  const data = { outcome: 'unknown' };
  const said200 = await said((res) => refuse(res, error, 7));
  expect(said200.slice(0, 2)).toEqual([
    200,
    { jsonrpc: '2.0', id: 7, error: { code: -31502, message: 'the detail', data } },
  ]);
  expect(refusalResponse(error, 7).error?.data).toEqual(data);
  expect(dataOf(error, 'record')).toEqual({ ...data, decisionId: 'record' });
  expect(dataOf(new IdentityError('mcp_upstream', 'x'), 'record')).toBeUndefined();
});

test.each(['mcp_upstream', 'mcp_outcome', 'wrong_peer'] as const)(
  '%s of no known request is HTTP 502',
  async (code) => {
    expect((await said(refusing(code))).slice(0, 2)).toMatchObject([
      502,
      { id: null, error: { code: -31502 } },
    ]);
  },
);

test.each(['GET', 'DELETE'])('who is refused %s only posts', async (method) => {
  const [status, , headers] = await said(refusing('mcp_method'), method);
  expect([status, headers.allow]).toEqual([405, 'POST']);
});

test('a refusal carries what the protocol asks for', async () => {
  const [, json] = await said(refusing('mcp_version', 7, { supported: ['a'] }));
  expect(json.error.data).toEqual({ supported: ['a'] });
});

test('a stream whose server is away ends soon, so that its client asks again', async () => {
  const began = performance.now();
  const response = await ask(refusing('mcp_upstream', undefined), 'GET');
  expect([response.statusCode, response.headers['content-type']]).toEqual([200, 'text/event-stream']);
  expect(await text(response)).toBe('');
  expect(performance.now() - began).toBeGreaterThan(900);
});

test.each([
  ['the rule', 'triage', { reason: 'because', decisionId: 'd', rule: 'triage' }],
  ['no rule where there is none', undefined, { reason: 'because', decisionId: 'd' }],
])('a denial says why, and %s', (_name, rule, data) => {
  const denied = denial(7, { allow: false, rule, reason: 'because' }, 'd');
  const error = { code: -31403, message: 'the call is not allowed', data };
  expect(denied).toEqual({ kind: 'response', id: 7, result: undefined, error });
});

test('text is sent as it is, with its length in bytes', async () => {
  const response = await ask((res) => writeJson(res, 201, '"é"'));
  expect([response.statusCode, response.headers['content-length']]).toEqual([201, '4']);
  expect(await text(response)).toBe('"é"');
});
