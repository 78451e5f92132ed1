import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { createServer, get, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { Message } from '@chancery/shared/mcp/message.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterEach, expect, test } from 'vitest';
import type { Back, Upstream } from '../upstream.ts';
import { connectionsTo } from './connections.ts';
import { httpUpstream } from './http.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function serve(answer: RequestListener, host = '127.0.0.1'): Promise<Server> {
  const server = createServer(answer).listen(0, host);
  await once(server, 'listening');
  closing.push(
    () => server.closeAllConnections(),
    () => server.close(),
  );
  return server;
}

function upstreamOf(server: { address(): unknown }, host = '127.0.0.1'): Upstream {
  const { port } = server.address() as AddressInfo;
  const upstream = httpUpstream({ kind: 'url', url: new URL(`http://${host}:${port}/mcp`) }, silentLog);
  closing.push(() => upstream.close());
  return upstream;
}

const caller = parseSpiffeId('spiffe://prod.example/a');
const request: Message = { kind: 'request', id: 1, method: 'ping', params: undefined };
const notification: Message = { kind: 'notification', method: 'notifications/x', params: undefined };
const pong = JSON.stringify({ jsonrpc: '2.0', id: 1, result: {} });
const politely: RequestListener = (req, res) => {
  req.resume();
  res.writeHead(200, { 'content-type': 'application/json' }).end(pong);
};

const UNSENT = 0;
/**
 * What comes back for one message: a status, or the words of a failure. `onClose` gets what tells that its client left.
 */
function send(
  upstream: Upstream,
  message: Message,
  onClose: Back['onClose'] = () => {},
  era: 'legacy' | 'modern' = 'legacy',
): Promise<number | string> {
  return new Promise((resolve) => {
    const none = () => {};
    let left = false;
    const back: Back = {
      session: none,
      answer: resolve,
      open: none,
      event: () => true,
      holding: none,
      isCancelled: false,
      keepAlive: none,
      end: none,
      sent: () => left && resolve(UNSENT),
      onLost: none,
      answered: true,
      fail: (error) => resolve(error.message),
      cancelled: none,
      onDrain: none,
      onClose: (listener) =>
        onClose(() => {
          left = true;
          listener();
        }),
    };
    upstream.send({ caller, era, message, session: undefined, headers: {} }, back);
  });
}

test('reaches a server at a literal IPv6 address', async () => {
  const server = await serve(politely, '::1');
  expect(await send(upstreamOf(server, '[::1]'), request)).toBe(200);
});

test.each([
  ['an empty 202', 202, undefined, ''],
  ['200 with JSON that is no message', 200, 'application/json', '{"ok":true}'],
  ['201 with a page', 201, 'text/html', '<p>'],
  ['204', 204, undefined, ''],
  ['200 with an event stream', 200, 'text/event-stream', ': done\n\n'],
])('a notification is taken by %s', async (_name, status, type, body) => {
  const server = await serve((_req, res) => {
    res.writeHead(status, type === undefined ? {} : { 'content-type': type }).end(body);
  });
  expect(await send(upstreamOf(server), notification)).toBe(202);
});

test('a connection that the server has closed a moment ago is not used', async () => {
  let requests = 0;
  const server = await serve((req, res) => {
    requests += 1;
    politely(req, res);
  });
  const upstream = upstreamOf(server);
  for (let call = 0; call < 20; call += 1) {
    expect(await send(upstream, request)).toBe(200);
    await new Promise((resolve) => setImmediate(resolve));
    // The end of the connection is on its way when the next request begins.
    server.closeIdleConnections();
  }
  expect(requests).toBe(20);
});

test('M96 a request that the kernel has taken is not kept to be sent again', async () => {
  const sockets: Socket[] = [];
  const watch = (message: unknown): void => void sockets.push((message as { socket: Socket }).socket);
  subscribe('net.client.socket', watch);
  closing.push(() => unsubscribe('net.client.socket', watch));
  let requests = 0;
  const server = await serve((req, res) => {
    requests += 1;
    if (requests === 1) politely(req, res);
    else req.resume();
  });
  const upstream = upstreamOf(server);
  expect(await send(upstream, request)).toBe(200);
  const failed = send(upstream, request);
  await expect.poll(() => requests).toBe(2);
  expect(sockets).toHaveLength(1);
  sockets[0]?.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE', syscall: 'write' }));
  expect(await failed).toMatch(/was reached but did not answer/);
  expect(requests).toBe(2);
});

test('a request that the server has read is never sent again', async () => {
  let requests = 0;
  const sockets: Socket[] = [];
  const server = createTcpServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', () => {
      requests += 1;
      if (requests > 1) socket.resetAndDestroy();
      else
        socket.write(
          `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${pong.length}\r\n\r\n${pong}`,
        );
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(
    () => server.close(),
    () => {
      for (const socket of sockets) socket.destroy();
    },
  );
  const upstream = upstreamOf(server);
  expect(await send(upstream, request)).toBe(200);
  expect(await send(upstream, request)).toMatch(
    /was reached but did not answer: the connection was reset .*; it may have done what was asked/,
  );
  expect(requests).toBe(2);
});

test.each([
  ['does not say how long it keeps one', undefined, 1_500],
  ['says 3 s', 'timeout=3', 2_000],
  ['says 15 s', 'timeout=15, max=100', 14_000],
  ['says an hour', 'timeout=3600', 60_000],
  ['says 1 s', 'timeout=1', undefined],
])('an idle connection to a server that %s is kept for less', async (_name, said, ms) => {
  const server = await serve((req, res) => {
    req.resume();
    if (said !== undefined) res.setHeader('keep-alive', said);
    res.end();
  });
  server.keepAliveTimeout = 0;
  const { port } = server.address() as AddressInfo;
  const { agent } = connectionsTo({ kind: 'url', url: new URL(`http://127.0.0.1:${port}`) });
  closing.push(() => agent.destroy());
  const ask = async (): Promise<void> => {
    const outgoing = get({ host: '127.0.0.1', port, agent });
    const [response] = await once(outgoing, 'response');
    response.resume();
    await once(outgoing, 'close');
  };
  const idle = () =>
    Object.values(agent.freeSockets).flatMap((sockets = []) => sockets.map(({ timeout }) => timeout));
  for (let n = 0; n < 2; n += 1) {
    await ask();
    await expect.poll(idle).toEqual(ms === undefined ? [] : [ms]);
  }
});

test('a request whose client has left before a connection was chosen is not sent', async () => {
  let requests = 0;
  const server = await serve((req, res) => {
    requests += 1;
    politely(req, res);
  });
  const upstream = upstreamOf(server);
  expect(await send(upstream, request)).toBe(200);
  await new Promise((resolve) => setImmediate(resolve));
  let leave = (): void => {};
  const sent = send(upstream, request, (listener) => {
    leave = listener;
  });
  leave();
  expect(await sent).toBe(UNSENT);
  expect(await send(upstream, request)).toBe(200);
  expect(requests).toBe(2);
});

test.each([401, 403, 407])(
  '%i of the server is not what a client gets: it is about the gateway',
  async (status) => {
    const upstream = upstreamOf(await serve((_req, res) => void res.writeHead(status).end()));
    expect(await send(upstream, notification)).toBe(502);
    expect(await send(upstream, request, () => {}, 'modern')).toBe(200);
  },
);
