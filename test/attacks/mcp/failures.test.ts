/** What fails one call or one session at a server, and what a client can make of it. */
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { PassThrough } from 'node:stream';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ask } from '../../kit/mcp/clients/ask.ts';
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
import {
  type FakeServer,
  politely,
  type RpcJson,
  reply,
  startFakeServer,
  stream,
} from '../../kit/mcp/servers/server.ts';
import { connectTo, startWorld, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

let world: World;
let server: FakeServer;
beforeEach(async () => {
  ({ server, world } = await startPlayed());
});
afterEach(() => stopPlayed(world, server));

const INITIALIZED = rpc('notifications/initialized', {});
const { post, other, begin } = callerOf(() => world);
const modernly = (id: number) =>
  post(call(id, 'echo', { _meta: MODERN_META }), modernHeaders('tools/call', 'echo'));

type Odd = (res: Parameters<FakeServer['say']>[1], id: number | string) => void;
/** Well-behaved, except for calls of the tool `odd`. */
const oddly =
  (odd: Odd): FakeServer['say'] =>
  (seen, res, req) => {
    if (seen.json?.params?.name === 'odd') odd(res, seen.json.id);
    else politely(seen, res, req);
  };
const as = (type: string | undefined, body: string, status = 200, more: Record<string, string> = {}): Odd => {
  return (res, id) => {
    res.writeHead(status, { ...(type === undefined ? {} : { 'content-type': type }), ...more });
    res.end(body.replace('ID', JSON.stringify(id)));
  };
};
const RESULT = '{"jsonrpc":"2.0","id":ID,"result":{"content":[]}}';
const deep = `${'['.repeat(80)}${']'.repeat(80)}`;

/** What fails a call, and the sentence that its client gets. */
const FAILURES: [string, Odd, RegExp][] = [
  [
    'nesting over the limit',
    as('application/json', `{"jsonrpc":"2.0","id":ID,"result":{"a":${deep}}}`),
    /64 deep/,
  ],
  ['an empty body', as(undefined, ''), /no answer in HTTP 200: its body is empty/],
  ['no Content-Type', as(undefined, RESULT), /no answer in HTTP 200: it has no Content-Type/],
  [
    'another charset',
    as('application/json; charset=ISO-8859-1', RESULT),
    /its Content-Type is application\/json; charset=ISO-8859-1; application\/json in UTF-8 is expected/,
  ],
  ['a page', as('text/html', '<p>'), /no answer in HTTP 200: its Content-Type is text\/html/],
  [
    'a coding',
    as('application/json', RESULT, 200, { 'content-encoding': 'gzip' }),
    /has the Content-Encoding gzip, and none was asked for/,
  ],
  [
    'a coding of a stream',
    as('text/event-stream', `data: ${RESULT}\n\n`, 200, { 'content-encoding': 'br' }),
    /has the Content-Encoding br/,
  ],
  [
    'headers over the limit',
    as('application/json', RESULT, 200, { 'x-large': 'x'.repeat(20_000) }),
    /the headers of its answer are too large/,
  ],
  [
    'another id',
    (res, id) => reply(res, { jsonrpc: '2.0', id: `0${id}`, result: {} }),
    /has the id "07"; 7 is expected/,
  ],
  [
    'a call',
    (res) => reply(res, { jsonrpc: '2.0', id: 1, method: 'ping' }),
    /with a call instead of a response/,
  ],
  ['a page with 500', as('text/plain', 'Internal Server Error', 500), /answered HTTP 500$/],
  [
    'JSON of a framework with 500',
    as('application/json', '{"timestamp":1,"error":"boom"}', 500),
    /answered HTTP 500$/,
  ],
  ['429 of a proxy', as('application/json', '{"error":"slow down"}', 429), /answered HTTP 429$/],
  [
    'a redirect',
    as(undefined, '', 307, { location: 'http://10.0.0.1/mcp/' }),
    /answered HTTP 307, a redirect, which is not followed: gateway.upstream.url/,
  ],
  [
    'half an answer',
    (res) => {
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 });
      res.write('{"jsonrpc"');
      setImmediate(() => res.destroy());
    },
    /was reached but did not answer: .*; it may have done what was asked/,
  ],
  [
    'the end of the connection',
    (res) => res.destroy(),
    /was reached but .*; it may have done what was asked/,
  ],
  [
    'a stream without an answer',
    (res) => stream(res, []),
    /ended its stream before the answer; it may have done/,
  ],
];

describe('M62 one failed call is HTTP 200 with the error under its id, and its session goes on', () => {
  test.each(FAILURES)('%s', async (_name, odd, says) => {
    server.say = oddly(odd);
    const session = await begin();
    const { status, json } = await post(call(7, 'odd'), session);
    expect([status, json.id, json.error.code]).toEqual([200, 7, -31502]);
    expect(json.error.message).toMatch(says);
    expect(json.error.message).not.toContain('10.0.0.1');
    expect((await post(call(8), session)).json.result.content[0].text).toBe('echo');
  });

  test.each([
    ['no id', null],
    ['an id of its own', 'server-error'],
  ])('an error of the server with %s is about the request that was posted', async (_name, id) => {
    const error = { code: -32600, message: 'Missing session ID' };
    server.say = oddly((res) => reply(res, { jsonrpc: '2.0', id, error }, {}, 400));
    const { status, json } = await post(call(7, 'odd'), await begin());
    expect([status, json.id, json.error]).toEqual([200, 7, error]);
  });

  test('at connect, too, and where the gateway is away', async () => {
    server.say = oddly((res) => res.destroy());
    const connect = await connectTo(world, { kind: 'tcp', port: 0 });
    const asked = await locally(connect.port, call(7, 'odd'));
    expect(asked).toMatchObject({ status: 200, json: { id: 7, error: { code: -31502 } } });
    await world.close();
    const alone = await locally(connect.port, call(8));
    expect(alone).toMatchObject({ status: 200, json: { id: 8, error: { code: -31502 } } });
    expect(alone.json.error.message).toContain('the connection was refused');
    await connect.close();
  });

  test('a modern client tells by 4xx what its server knows', async () => {
    server.say = (_seen, res) => res.writeHead(400, { 'content-type': 'text/plain' }).end('Bad Request');
    expect(await modernly(1)).toMatchObject({ status: 400, json: { id: 1, error: { code: -31502 } } });
    // The others are the server's trouble, or its lack of trust in the gateway.
    for (const status of [401, 403, 407, 500]) {
      server.say = (_seen, res) => res.writeHead(status).end();
      const { json, ...answer } = await modernly(2);
      expect([answer.status, json.id, json.error.code]).toEqual([200, 2, -31502]);
    }
  });

  test('a server that is not there was not reached', async () => {
    await server.close();
    const { status, json } = await post(call(1));
    expect([status, json.id]).toEqual([200, 1]);
    expect(json.error.message).toBe(
      'the MCP server could not be reached: the connection was refused (ECONNREFUSED)',
    );
    server = await startFakeServer();
  });
});

const REFUSED = { code: -32602, message: 'Unsupported protocol version' };
const SESSION = { 'mcp-session-id': 'upstream-session' };
test.each<[string, Odd]>([
  ['an error', (res, id) => reply(res, { jsonrpc: '2.0', id, error: REFUSED }, SESSION)],
  [
    'a stream with an error',
    (res, id) => {
      res.writeHead(200, { 'content-type': 'text/event-stream', ...SESSION });
      res.write('id: e0\ndata:\n\n: still there\n\n');
      setTimeout(() => res.end(`data: ${JSON.stringify({ jsonrpc: '2.0', id, error: REFUSED })}\n\n`), 20);
    },
  ],
  [
    'a stream without an answer',
    (res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream', ...SESSION });
      res.end(': still there\n\n');
    },
  ],
  ['what cannot be read', as('application/json', '{', 200, SESSION)],
])('M75 initialize that is answered with %s names no session', async (_name, odd) => {
  server.say = (seen, res) => odd(res, seen.json?.id);
  const { status, headers, json } = await post(INITIALIZE);
  expect([status, json.id, json.error.code < 0]).toEqual([200, 0, true]);
  expect(headers['mcp-session-id']).toBeUndefined();
  server.say = politely;
  expect((await begin())['mcp-session-id']).toMatch(/^[0-9a-f-]{36}$/);
});

test.each([
  'application/json;charset=utf8',
  'application/json; charset="UTF-8"; profile=x',
  'application/json;',
])('an answer of the type %s is read', async (type) => {
  server.say = oddly(as(type, RESULT));
  expect((await post(call(7, 'odd'))).json.result).toEqual({ content: [] });
});

test('numbers in arguments and results travel as they were written', async () => {
  const result = '"result":{"structuredContent":{"x":2.0,"y":[1E2,-0]}}';
  server.say = oddly(as('application/json', RESULT.replace('"result":{"content":[]}', result)));
  const given = '"arguments":{"a":1.0,"b":[1e3,-0,0.10]}';
  const { text } = await post(call(7, 'odd').replace('"name":"odd"', `"name":"odd",${given}`));
  expect(server.seen.at(-1)?.text).toContain(given);
  expect(text).toContain(result);
});

test('an answer with an error of null beside its result is read', async () => {
  server.say = oddly(as('application/json', RESULT.replace('"result"', '"error":null,"result"')));
  expect((await post(call(7, 'odd'))).text).toBe(RESULT.replace('ID', '7'));
});

test('a cancelled call to a server over HTTP gets no answer, whatever the server makes of it', async () => {
  let end = (): void => {};
  server.say = (seen, res, req) => {
    if (seen.json?.method === 'notifications/cancelled') end();
    if (seen.json?.params?.name !== 'odd') return politely(seen, res, req);
    stream(res, [], true);
    end = () => res.end();
  };
  const session = await begin();
  const hanging = post(call(5, 'odd'), session);
  await expect.poll(() => server.seen.length).toBe(2);
  await post(rpc('notifications/cancelled', { requestId: 5 }), session);
  expect(await hanging).toMatchObject({ status: 200, text: '' });
  await expect
    .poll(() => world.events.find(({ requestId, outcome }) => requestId === 5 && outcome))
    .toMatchObject({ outcome: 'abandoned' });
});

test.each([
  ['PUT', {}, 'POST, GET, DELETE'],
  ['OPTIONS', {}, 'POST, GET, DELETE'],
  ['GET', { 'mcp-protocol-version': '2026-07-28' }, 'POST'],
])('405 to %s with %o says what is served', async (method, headers, allow) => {
  const answer = await ask(world, world.td.svid(TRIAGE), { method, headers });
  expect(answer).toMatchObject({ status: 405, headers: { allow } });
});

test.each(['the gateway', 'connect'])(
  'M64 %s answers a message over the limit and takes the rest of it',
  async (which) => {
    const connect = await connectTo(world, { kind: 'tcp', port: 0 });
    const local = which === 'connect';
    const tls = {
      ...clientTls(world.td.svid(TRIAGE), world.td.bundle.current()),
      checkServerIdentity: () => undefined,
    };
    const agent = local
      ? new Agent({ keepAlive: true, maxSockets: 1 })
      : new TlsAgent({ keepAlive: true, maxSockets: 1, ...tls });
    const port = local ? connect.port : world.gateway.port;
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
    const where = { host: '127.0.0.1', port, path: '/mcp', method: 'POST', agent, headers };
    const open = local ? request : tlsRequest;
    const size = 20 * 1024 * 1024;
    const large = open({ ...where, headers: { ...headers, 'content-length': size } });
    large.write('[');
    const [refused] = await once(large, 'response');
    expect([refused.statusCode, refused.headers.connection]).toEqual([413, 'keep-alive']);
    refused.resume();
    large.end(Buffer.alloc(size - 1, ' '));
    await once(large, 'close');
    const next = open(where).end(call(1));
    const [answer] = await once(next, 'response');
    expect([answer.statusCode, next.reusedSocket]).toEqual([200, true]);
    answer.resume();
    agent.destroy();
    await connect.close();
  },
);

test('events that carry no message leave nothing but a comment', async () => {
  server.say = (seen, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write('event: ping\ndata: 2026-01-01\n\nevent: endpoint\ndata: /messages\n\n');
    res.end(`data: {"jsonrpc":"2.0","id":${seen.json.id},"result":{}}\n\n`);
  };
  const { text } = await post(call(1));
  expect(text.match(/^(data|event):.*$/gm)).toHaveLength(2);
});

const LOST: [string, Odd][] = [
  ['404 without a body', as(undefined, '', 404)],
  ['404 of the Java SDK', as('application/json', '{"jsonRpcError":{"code":-32603},"stackTrace":[]}', 404)],
  ['400 without a body', as(undefined, '', 400)],
  ['400 of the Python SDK 1', as('text/plain', 'Bad Request: No valid session ID provided', 400)],
  ['400 with JSON of a framework', as('application/json', '{"error":"Session not found"}', 400)],
];

test('M81 an answer under the id as text is the answer, in JSON and in a stream', async () => {
  const text = { content: [{ type: 'text', text: 'as text' }] };
  const answer = (id: number | string) => ({ jsonrpc: '2.0', id: String(id), result: text });
  const session = await begin();
  for (const odd of [
    (res, id) => reply(res, answer(id)),
    (res, id) => stream(res, [answer(id)]),
  ] satisfies Odd[]) {
    server.say = oddly(odd);
    expect((await post(call(7, 'odd'), session)).json).toEqual({ jsonrpc: '2.0', id: 7, result: text });
  }
});

test('M62 the address that a server redirects to is in the log, once', async () => {
  await world.close();
  const warned: object[] = [];
  const log = { ...silentLog, warn: (fields: object) => void warned.push(fields) };
  world = await startWorld(server.target, { log });
  server.say = oddly(as(undefined, '', 307, { location: 'http://10.0.0.1/mcp/' }));
  for (const id of [7, 8]) expect((await post(call(id, 'odd'))).json.error.message).toMatch(/a redirect/);
  expect(warned).toEqual([{ location: 'http://10.0.0.1/mcp/' }]);
});

describe('M63 a lost session is told as one, and no other answer is', () => {
  test('a stream that resumes and gets 404 ends the session', async () => {
    server.say = (seen, res, req) =>
      seen.method === 'POST' ? politely(seen, res, req) : res.writeHead(404).end();
    const session = await begin();
    const resumed = { ...session, accept: 'text/event-stream', 'last-event-id': 'e1' };
    expect(await other('GET', resumed)).toMatchObject({ status: 404, json: { error: { code: -32001 } } });
    expect((await post(call(7), session)).status).toBe(404);
  });

  test.each(LOST)('a POST that gets %s is 404, and so is the next', async (_name, odd) => {
    server.say = oddly(odd);
    const session = await begin();
    for (const name of ['odd', 'echo'])
      expect(await post(call(7, name), session)).toMatchObject({
        status: 404,
        json: { error: { code: -32001 } },
      });
  });

  test('a GET that resumes in a lost session is 404, too, and a call that finds it lost has one record', async () => {
    server.say = (seen, res, req) => {
      if (seen.json?.params?.name === 'odd' || seen.method === 'GET') res.writeHead(404).end();
      else politely(seen, res, req);
    };
    const resume = { ...(await begin()), accept: 'text/event-stream', 'last-event-id': 'e1' };
    expect(await other('GET', resume)).toMatchObject({ status: 404, json: { error: { code: -32001 } } });
    await post(call(7, 'odd'), await begin());
    const outcomes = () =>
      world.events.flatMap(({ requestId, outcome }) => (requestId === 7 && outcome ? [outcome] : []));
    await expect.poll(outcomes).toEqual(['error']);
  });

  test.each(LOST)('without a session, %s is a failed call', async (_name, odd) => {
    server.say = oddly(odd);
    expect(await post(call(7, 'odd'))).toMatchObject({
      status: 200,
      json: { id: 7, error: { code: -31502 } },
    });
  });

  test.each([
    ['about the version', 'Bad Request: Unsupported MCP-Protocol-Version: 2025-11-25'],
    ['with a page', `<html>${'x'.repeat(2_000)} session</html>`],
    ['of the TypeScript SDK', '{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"version"}}'],
  ])('400 %s fails its call only', async (_name, body) => {
    server.say = oddly(as(body.startsWith('{') ? 'application/json' : 'text/plain', body, 400));
    const session = await begin();
    expect(await post(call(7, 'odd'), session)).toMatchObject({ status: 200, json: { id: 7 } });
    expect((await post(call(8), session)).json.result).toBeDefined();
  });

  test.each([400, 404, 405, 406, 501])(
    'a GET that is not served (%i) ends no session, and a DELETE ends it',
    async (status) => {
      server.say = (seen, res, req) =>
        seen.method === 'POST' ? politely(seen, res, req) : res.writeHead(status).end();
      const session = await begin();
      const listening = other('GET', { ...session, accept: 'text/event-stream' });
      await expect.poll(() => server.seen.at(-1)?.method).toBe('GET');
      expect((await post(call(1), session)).json.result.content[0].text).toBe('echo');
      expect((await other('DELETE', session)).status).toBe(204);
      // The stream was open until the session ended, and its client begins it anew in its next session.
      expect(await listening).toMatchObject({
        status: 200,
        headers: { 'content-type': 'text/event-stream' },
      });
      expect((await post(call(2), session)).status).toBe(404);
    },
  );

  test('a client over stdio goes on where its server has no GET', async () => {
    server.say = (seen, res, req) =>
      seen.method === 'POST' ? politely(seen, res, req) : res.writeHead(404).end();
    const client = await overStdio(world);
    client.write(INITIALIZE, INITIALIZED);
    await expect.poll(() => server.seen.filter(({ method }) => method === 'GET').length).toBe(1);
    for (const id of [1, 2, 3]) {
      client.write(call(id));
      await expect.poll(() => client.lines().some((line) => line.id === id)).toBe(true);
    }
    expect(server.seen.filter(({ json }) => json?.method === 'initialize')).toHaveLength(1);
    await client.end();
  });

  test.each(LOST)('a client over stdio begins again after %s, and listens again', async (_name, odd) => {
    let lost = false;
    server.say = (seen, res, req) => {
      if (seen.json?.method === 'initialize') lost = false;
      if (lost && seen.method === 'POST') odd(res, seen.json?.id);
      else if (seen.method === 'GET') res.writeHead(405).end();
      else politely(seen, res, req);
    };
    const client = await overStdio(world);
    client.write(INITIALIZE, INITIALIZED);
    const listens = () => server.seen.filter(({ method }) => method === 'GET').length;
    await expect.poll(listens).toBe(1);
    lost = true;
    client.write(call(1));
    await expect.poll(() => client.lines().find(({ id }) => id === 1)?.result).toBeDefined();
    await expect.poll(listens, { timeout: 20_000 }).toBe(2);
    await client.end();
  });
});

/** The answer of a connect's local port. */
function locally(port: number | undefined, body: string): Promise<{ status: number; json: RpcJson }> {
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port, path: '/mcp', method: 'POST', headers });
    outgoing.on('error', reject);
    outgoing.on('response', async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve({ status: response.statusCode ?? 0, json: JSON.parse(text) });
    });
    outgoing.end(body);
  });
}

/** A client of a connect over stdio. */
async function overStdio(of: World) {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const connect = await connectTo(of, { kind: 'stdio', input, output });
  let out = '';
  output.on('data', (chunk) => {
    out += chunk;
  });
  return {
    write: (...lines: string[]) => void input.write(lines.map((line) => `${line}\n`).join('')),
    lines: () =>
      out
        .split('\n')
        .filter((line) => line !== '')
        .map((line): RpcJson => JSON.parse(line)),
    async end() {
      input.end();
      await connect.done;
    },
  };
}
