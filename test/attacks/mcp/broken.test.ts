/** A gateway that goes, or a connection to it that ends, while a local client's call is open: row M73. */
import { type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { Connect } from '@chancery/agent/mcp/connect.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type FakeServer, politely, reply, startFakeServer, stream } from '../../kit/mcp/servers/server.ts';
import { startWire, type Wire } from '../../kit/mcp/wire.ts';
import { connectTo, policyFor, startWorld, type World } from '../../kit/mcp/world/world.ts';

let world: World;
let server: FakeServer;
let connect: Connect;
let wire: Wire;
beforeEach(async () => {
  server = await startFakeServer();
  world = await startWorld(server.target);
  wire = await startWire(world.gateway.port);
  world.policy.publish(policyFor(wire.port, { allow: ['*'] }, 3n));
  connect = await connectTo(world, { kind: 'tcp', port: 0 });
});
afterEach(async () => {
  await connect.close();
  await world.close();
  wire.close();
  await server.close();
});

const ENDS: [string, () => unknown][] = [
  ['its gateway stops', () => world.gateway.close()],
  ['its connection ends', () => wire.cut()],
  ['a new policy denies its tool', () => world.policy.publish(policyFor(wire.port, { allow: ['x'] }, 4n))],
];

const PROGRESS = {
  jsonrpc: '2.0',
  method: 'notifications/progress',
  params: { progressToken: 1, progress: 1 },
};
const HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
const MODERN = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
};

interface Call {
  readonly response: Promise<IncomingMessage>;
  /** What came of the body so far. */
  text(): string;
  /** Whether the body came to its proper end. */
  readonly complete: Promise<boolean>;
}

function post(message: object, headers: Record<string, string> = {}): Call {
  const [{ promise: response, resolve }, end] = [
    Promise.withResolvers<IncomingMessage>(),
    Promise.withResolvers<boolean>(),
  ];
  let text = '';
  const where = {
    host: '127.0.0.1',
    port: connect.port,
    path: '/mcp',
    method: 'POST',
    agent: false,
  } as const;
  const outgoing = request({ ...where, headers: { ...HEADERS, ...headers } }, (incoming) => {
    resolve(incoming);
    incoming.on('data', (chunk) => {
      text += chunk;
    });
    incoming.on('error', () => {});
    incoming.on('close', () => end.resolve(incoming.complete));
  });
  outgoing.on('error', () => end.resolve(false));
  outgoing.end(JSON.stringify({ jsonrpc: '2.0', ...message }));
  return { response, text: () => text, complete: end.promise };
}
const call = (id: number | string, name = 'odd', more: object = {}, headers = {}) =>
  post({ id, method: 'tools/call', params: { name, ...more } }, headers);
const modernly = (id: number) =>
  call(
    id,
    'odd',
    { _meta: MODERN },
    { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'odd' },
  );
async function begin(): Promise<Record<string, string>> {
  const params = { protocolVersion: '2025-11-25', capabilities: {} };
  const begun = post({ id: 0, method: 'initialize', params });
  const { headers } = await begun.response;
  await begun.complete;
  return { 'mcp-session-id': String(headers['mcp-session-id']), 'mcp-protocol-version': '2025-11-25' };
}

/** Messages as a client reads them: events of another type, and those without data, are none. */
const messagesIn = (text: string) =>
  text
    .split('\n\n')
    .slice(0, -1)
    .map((event) => event.split('\n'))
    .filter((lines) =>
      (lines.findLast((line) => line.startsWith('event:')) ?? 'event: message').endsWith('message'),
    )
    .flatMap((lines) =>
      lines.filter((line) => line.startsWith('data: {')).map((line) => JSON.parse(line.slice(6))),
    );

const odd = (say: (res: ServerResponse, id: number | string) => void): FakeServer['say'] => {
  return (seen, res, req) =>
    seen.json?.params?.name === 'odd' ? say(res, seen.json.id) : politely(seen, res, req);
};
const failure = (id: unknown) => ({
  id,
  error: {
    code: -31502,
    message: expect.stringMatching(/gateway.*the MCP server may have done what was asked$/),
    data: { outcome: 'unknown' },
  },
});
const large = (id: number | string) => ({ jsonrpc: '2.0', id, result: { text: 'x'.repeat(2 ** 21) } });

describe.each(ENDS)('M73 a call of a local client whose answer is a stream, when %s', (_name, end) => {
  test.each([
    ['of the legacy era', () => call('seven'), 'seven'],
    ['of the modern era', () => modernly(7), 7],
  ])('%s: the stream ends with an error under its id', async (_era, start, id) => {
    server.say = odd((res) => stream(res, [PROGRESS], true));
    const open = start();
    await expect.poll(open.text).toContain('notifications/progress');
    await end();
    expect(await open.complete).toBe(true);
    expect(messagesIn(open.text())).toEqual([PROGRESS, { jsonrpc: '2.0', ...failure(id) }]);
  });

  test('without an answer yet: HTTP 200 with the error', async () => {
    server.say = odd(() => {});
    const open = call(7);
    await expect.poll(() => server.seen.length).toBe(1);
    await end();
    expect((await open.response).statusCode).toBe(200);
    expect(await open.complete).toBe(true);
    expect(JSON.parse(open.text())).toMatchObject(failure(7));
  });
});

test('M73 half an event is no message, and the error after it is one', async () => {
  server.say = odd((res, id) => stream(res, [PROGRESS, large(id)], true));
  wire.cut(300_000);
  const open = call(7);
  expect(await open.complete).toBe(true);
  expect(open.text()).toContain('xxx');
  expect(messagesIn(open.text())).toEqual([PROGRESS, { jsonrpc: '2.0', ...failure(7) }]);
});

test('M73 half a JSON body ends with its connection', async () => {
  server.say = odd((res, id) => reply(res, large(id)));
  wire.cut(300_000);
  const open = call(7);
  expect(await open.complete).toBe(false);
  expect(open.text()).toMatch(/xxx$/);
});

describe('M73 a stream with event ids', () => {
  const answer = { jsonrpc: '2.0', id: 7, result: { content: [] } };
  const open = (res: ServerResponse): void => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write(`id: e1\ndata: ${JSON.stringify(PROGRESS)}\n\n`);
  };

  test('is resumed when its connection ends, and its client sees no end', async () => {
    server.say = (seen, res, req) => {
      if (seen.method !== 'GET') return odd(open)(seen, res, req);
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.end(`id: e2\ndata: ${JSON.stringify(answer)}\n\n`);
    };
    const calling = call(7, 'odd', {}, await begin());
    await expect.poll(calling.text).toContain('e1');
    wire.cut();
    expect(await calling.complete).toBe(true);
    expect(messagesIn(calling.text())).toEqual([PROGRESS, answer]);
    expect(server.seen.at(-1)?.headers['last-event-id']).toBe('e1');
  });

  test.each([
    ['the server has the stream no more', 404],
    ['the server fails', 500],
  ])('ends with an error where %s', async (_name, status) => {
    server.say = (seen, res, req) => {
      if (seen.method === 'GET') res.writeHead(status).end();
      else odd(open)(seen, res, req);
    };
    const calling = call(7, 'odd', {}, await begin());
    await expect.poll(calling.text).toContain('e1');
    wire.cut();
    expect(await calling.complete).toBe(true);
    expect(messagesIn(calling.text())).toEqual([PROGRESS, { jsonrpc: '2.0', ...failure(7) }]);
    const outcomes = () =>
      world.events.flatMap(({ requestId, outcome = [] }) => (requestId === 7 ? outcome : []));
    expect(outcomes()).toEqual(status === 404 ? ['unknown'] : []);
  });

  test('is resumed a few times and no more where it brings nothing new', { timeout: 30_000 }, async () => {
    server.say = (seen, res, req) => {
      if (seen.method === 'POST') return odd(open)(seen, res, req);
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(': still there\n\n');
    };
    const calling = call(7, 'odd', {}, await begin());
    await expect.poll(calling.text).toContain('e1');
    wire.cut();
    for (let n = 1; n <= 5; n += 1) {
      await expect.poll(() => calling.text().match(/^:/gm)?.length, { timeout: 10_000 }).toBe(n);
      wire.cut();
    }
    expect(await calling.complete).toBe(true);
    expect(messagesIn(calling.text()).at(-1)).toMatchObject(failure(7));
    expect(server.seen.filter(({ method }) => method === 'GET')).toHaveLength(5);
  });
});
