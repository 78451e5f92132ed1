/** Answers of a server over HTTP that are no answer to MCP, and what a client can make of them. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Answer } from '../../kit/mcp/clients/ask.ts';
import {
  callOf as call,
  callerOf,
  INITIALIZE,
  MODERN_META,
  modernHeaders,
  rpc,
  startPlayed,
  stopPlayed,
} from '../../kit/mcp/clients/caller.ts';
import { type FakeServer, politely, reply, stream } from '../../kit/mcp/servers/server.ts';
import type { World } from '../../kit/mcp/world/world.ts';

let world: World;
let server: FakeServer;
beforeEach(async () => {
  ({ server, world } = await startPlayed());
});
afterEach(() => stopPlayed(world, server));

const { post, other: asked, begin } = callerOf(() => world);
const other = (method: 'GET' | 'DELETE', headers: Record<string, string>) =>
  asked(method, { accept: 'text/event-stream', ...headers });

test.each([300, 304, 305])(
  'M95 HTTP %s of a server is no redirect that an operator could set right',
  async (code) => {
    server.say = (_seen, res) => res.writeHead(code, { location: 'http://10.0.0.1/' }).end();
    const { status, json } = await post(call(7));
    expect([status, json.id, json.error.message]).toEqual([200, 7, `the MCP server answered HTTP ${code}`]);
  },
);

const UNKNOWN = { outcome: 'unknown', decisionId: expect.any(String) };

describe('M94 a stream that ends after an event with an id, before the answer', () => {
  const ends =
    (headers: Record<string, string> = {}): FakeServer['say'] =>
    (_seen, res) =>
      void res.writeHead(200, { 'content-type': 'text/event-stream', ...headers }).end('id: e1\ndata:\n\n');
  const outcomes = () =>
    world.events.flatMap(({ outcome, detail }) => (outcome ? [{ outcome, detail }] : []));

  test('fails a call without a session, which nobody can resume', async () => {
    server.say = ends();
    const { status, json } = await post(call(7));
    const says = 'the MCP server ended its stream before the answer; it may have done what was asked';
    expect([status, json.id, json.error]).toEqual([200, 7, { code: -31502, message: says, data: UNKNOWN }]);
    expect(outcomes()).toEqual([{ outcome: 'unknown', detail: says }]);
  });

  test('fails no initialize that begins a session: its client resumes it', async () => {
    server.say = ends({ 'mcp-session-id': 'up' });
    const { text, headers } = await post(INITIALIZE);
    expect(text).toContain('id: e1');
    expect(text).not.toContain('error');
    const session = { 'mcp-session-id': String(headers['mcp-session-id']), 'last-event-id': 'e1' };
    server.say = (seen, res) =>
      reply(res, { jsonrpc: '2.0', id: 0, result: {} }, {}, seen.method === 'GET' ? 200 : 500);
    expect((await other('GET', session)).status).toBe(200);
  });
});

/** Node's client reports the second as no answer and as no error. */
describe.each([
  ['HTTP 101', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
  ['HTTP 101 and another protocol', 'HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'],
])('M92 %s of a server', (_name, head) => {
  const says = expect.stringMatching(/the answer was HTTP 101, and no other protocol was asked for/);
  const odd: FakeServer['say'] = (_seen, res) => void res.socket?.write(head);

  test('fails a call, and no other', async () => {
    const session = await begin();
    server.say = odd;
    const { status, json } = await post(call(7), session);
    expect([status, json.id, json.error]).toEqual([200, 7, { code: -31502, message: says }]);
    server.say = politely;
    expect((await post(call(8), session)).json.result.content[0].text).toBe('echo');
  });

  test('fails initialize, a notification, a stream and the end of a session', async () => {
    const session = await begin();
    server.say = odd;
    expect((await post(INITIALIZE)).json.error).toMatchObject({ code: -31502, message: says });
    expect(await post(rpc('notifications/initialized', {}), session)).toMatchObject({ status: 502 });
    expect(await other('GET', session)).toMatchObject({ status: 200, text: '' });
    expect(await other('DELETE', session)).toMatchObject({ status: 502 });
  });
});

const postModern = (): Promise<Answer> =>
  post(call(7, 'echo', { _meta: MODERN_META }), modernHeaders('tools/call', 'echo'));
let session: Record<string, string>;

const CONTENT = { content: [{ type: 'text', text: 'done' }] };
/** One call that is answered so, and whether its session goes on. */
async function oddlyAnswered(odd: (res: Parameters<FakeServer['say']>[1], id: number) => void) {
  const session = await begin();
  server.say = (_seen, res) => odd(res, 7);
  const { status, json, text } = await post(call(7), session);
  server.say = politely;
  expect((await post(call(8), session)).json.result.content[0].text).toBe('echo');
  return { status, json, text };
}

test.each([2 ** 31, -(2 ** 31) - 1, 1e15])(
  'M65 an error with the code %s is none to a client',
  async (code) => {
    const error = { code, message: 'm' };
    const { status, json } = await oddlyAnswered((res, id) => reply(res, { jsonrpc: '2.0', id, error }));
    const says =
      "the answer of the MCP server could not be read: the error's code is not an integer of 32 bits; it may have done what was asked";
    expect([status, json.id, json.error]).toEqual([200, 7, { code: -31502, message: says, data: UNKNOWN }]);
  },
);

describe('M66 a result in another HTTP status of a server is HTTP 200 to a client', () => {
  test.each([201, 202, 203, 206])('legacy, %s', async (code) => {
    const { status, json } = await oddlyAnswered((res, id) =>
      reply(res, { jsonrpc: '2.0', id, result: CONTENT }, {}, code),
    );
    expect([status, json.result]).toEqual([200, CONTENT]);
  });

  test.each([202, 400])('modern, %s', async (code) => {
    server.say = (_seen, res) => reply(res, { jsonrpc: '2.0', id: 7, result: CONTENT }, {}, code);
    expect((await postModern()).status).toBe(200);
  });
});

test('a byte order mark before an answer is left out', async () => {
  const { json } = await oddlyAnswered((res, id) => {
    res.writeHead(200, { 'content-type': 'application/json' });
    res.end(`\ufeff${JSON.stringify({ jsonrpc: '2.0', id, result: CONTENT })}`);
  });
  expect(json.result).toEqual(CONTENT);
});

test.each([201, 202])('M66 a stream of a call with HTTP %s is read as one with 200', async (code) => {
  const answer = { jsonrpc: '2.0', id: 7, result: CONTENT };
  const { status, json } = await oddlyAnswered((res) => {
    res.writeHead(code, { 'content-type': 'text/event-stream' });
    // Left open: the answer ends it.
    res.write(`data: ${JSON.stringify(answer)}\n\n`);
  });
  expect([status, json]).toEqual([200, answer]);
});

describe('M66 an error in another HTTP status is HTTP 200 to a client', () => {
  const error = { code: -32603, message: 'boom' };
  test.each([202, 206])('legacy, %s', async (code) => {
    const { status, json } = await oddlyAnswered((res, id) =>
      reply(res, { jsonrpc: '2.0', id, error }, {}, code),
    );
    expect([status, json.error]).toEqual([200, error]);
  });

  test.each([202, 206])('modern, %s', async (code) => {
    server.say = (_seen, res) => reply(res, { jsonrpc: '2.0', id: 7, error }, {}, code);
    const { status, json } = await postModern();
    expect([status, json.error]).toEqual([200, error]);
  });
});

test.each([201, 202, 400])('M66 a session that begins with HTTP %s is known, and ended', async (code) => {
  const result = { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: {} };
  server.say = (_seen, res) =>
    reply(res, { jsonrpc: '2.0', id: 0, result }, { 'mcp-session-id': 'up' }, code);
  const { status, headers } = await post(INITIALIZE);
  expect(status).toBe(200);
  server.say = politely;
  const session = { 'mcp-session-id': String(headers['mcp-session-id']) };
  expect((await post(call(7), session)).json.result.content[0].text).toBe('echo');
  expect(server.seen.at(-1)?.headers['mcp-session-id']).toBe('up');
  await other('DELETE', session);
  expect(server.seen.at(-1)).toMatchObject({ method: 'DELETE', headers: { 'mcp-session-id': 'up' } });
});

test.each([401, 403])('M66 a result in HTTP %s, which is about the gateway, is none', async (code) => {
  const { status, json } = await oddlyAnswered((res, id) =>
    reply(res, { jsonrpc: '2.0', id, result: CONTENT }, {}, code),
  );
  expect([status, json.error.message]).toEqual([200, `the MCP server answered HTTP ${code}`]);
});

test('M66 a result in HTTP 404 of a session is a lost session', async () => {
  const session = await begin();
  server.say = (_seen, res) => reply(res, { jsonrpc: '2.0', id: 7, result: CONTENT }, {}, 404);
  expect(await post(call(7), session)).toMatchObject({ status: 404, json: { error: { code: -32001 } } });
});

describe('M78 a result that comes for a message that asks for none', () => {
  const answer = { jsonrpc: '2.0', id: 5, result: CONTENT };
  test.each([
    ['a notification', 400, () => post(rpc('notifications/initialized', {}), session), 400],
    ['the end of a session', 200, () => other('DELETE', session), 200],
  ])('is no answer to an open call: %s', async (_name, code, send, expected) => {
    session = await begin();
    const released = Promise.withResolvers<void>();
    server.say = (seen, res) => {
      if (seen.json?.method !== 'tools/call') return reply(res, answer, {}, code);
      released.promise.then(() => reply(res, { ...answer, result: { content: [] } }));
    };
    const open = post(call(5), session);
    await expect.poll(() => server.seen.some(({ json }) => json?.id === 5)).toBe(true);
    const { status, text } = await send();
    expect([status, text.includes('done')]).toEqual([expected, false]);
    expect(world.events.some(({ requestId, outcome }) => requestId === 5 && outcome === 'result')).toBe(
      false,
    );
    released.resolve();
    await open;
  });
});

describe('M67 an error without an id in the stream of a call', () => {
  const error = { code: -32603, message: 'boom' };
  const nameless = { jsonrpc: '2.0', id: null, error };

  test('is about that call where no answer comes', async () => {
    const { text } = await oddlyAnswered((res) => stream(res, [nameless]));
    expect(text).toContain(JSON.stringify({ jsonrpc: '2.0', id: 7, error }));
  });

  test('is skipped where one comes', async () => {
    const answer = { jsonrpc: '2.0', id: 7, result: CONTENT };
    const { text } = await oddlyAnswered((res) => stream(res, [nameless, answer]));
    expect(text).not.toContain('boom');
    expect(text).toContain(JSON.stringify(answer));
  });
});

test('M69 404 with an error under the id of the call that is about something else ends no session', async () => {
  const error = { code: -32602, message: 'Unknown tool: echo' };
  const { status, json } = await oddlyAnswered((res, id) =>
    reply(res, { jsonrpc: '2.0', id, error }, {}, 404),
  );
  expect([status, json.id, json.error]).toEqual([200, 7, error]);
});

describe('M69 an error of the call that the gateway cannot read ends no session', () => {
  test.each([
    [
      'a code beyond 32 bits',
      404,
      { jsonrpc: '2.0', id: 7, error: { code: 2 ** 32, message: 'no such thing' } },
    ],
    ['no version', 404, { id: 7, error: { code: -32602, message: 'no such thing' } }],
    ['its id as text', 404, { id: '7', error: { code: -32602, message: 'no such thing' } }],
    [
      'a code beyond 32 bits, and another session in its words',
      400,
      { jsonrpc: '2.0', id: 7, error: { code: 2 ** 32, message: 'no such shopping session' } },
    ],
  ])('%s', async (_name, code, body) => {
    const { status, json } = await oddlyAnswered((res) => reply(res, body, {}, code));
    expect([status, json.id, json.error.code]).toEqual([200, 7, -31502]);
  });

  test.each([
    ['has no id', 404, { error: { code: -32602, message: 'no such thing' } }],
    ['has the code for a lost one', 404, { id: 7, error: { code: -32001, message: 'no such thing' } }],
    ['speaks of the session', 400, { id: 7, error: { code: -32000, message: 'No valid session ID' } }],
    ['has a text in the place of an object', 400, { error: 'session not found' }],
  ])('but one that %s does', async (_name, code, body) => {
    const session = await begin();
    server.say = (_seen, res) => reply(res, body, {}, code);
    expect((await post(call(7), session)).status).toBe(404);
  });
});

test.each([
  ['says so', 7, -32602, 'Session not found'],
  ['has the code for it', 7, -32001, 'Not Found'],
  ['has another id', 'server-error', -32600, 'Not Found'],
  ['has no id', null, -32600, 'Not Found'],
])('M69 404 with an error that %s is a lost session', async (_name, id, code, message) => {
  const session = await begin();
  server.say = (_seen, res) => reply(res, { jsonrpc: '2.0', id, error: { code, message } }, {}, 404);
  expect(await post(call(7), session)).toMatchObject({ status: 404, json: { error: { code: -32001 } } });
});
