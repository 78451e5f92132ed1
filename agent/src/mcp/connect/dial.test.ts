import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type PlayedGateway,
  playGateway,
  portOf,
  sayDone,
  sendBy,
} from '../../../../test/kit/mcp/world/played-gateway.ts';
import type { Dialler } from './dial.ts';

/** More than the buffers of both ends hold: the rest is on its way when the head has come. */
const LARGE = 'x'.repeat(16 * 1024 * 1024);
let gateway: PlayedGateway;
let dialler: Dialler;

beforeEach(async () => {
  gateway = await playGateway();
  dialler = gateway.dial();
});
afterEach(() => gateway.close());

const send = async (body = '{}'): Promise<string> => text(await sendBy(dialler, { body }));
const arrived = (): number => gateway.arrived.length;

/** What `send` says where it fails. */
async function failure(body?: string): Promise<string> {
  const error = await send(body).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof IdentityError)) throw new Error(`an IdentityError was expected: ${String(error)}`);
  return error.message;
}

test.each<[string, string, RequestListener]>([
  ['after its head', LARGE, ({ socket }) => void socket.destroy()],
  ['after its last byte', '{}', (req) => void req.resume().once('end', () => req.socket.destroy())],
])(
  'a request whose connection breaks %s arrives once, and its client hears that it was sent',
  async (_, body, cut) => {
    gateway.play = cut;
    expect(await failure(body)).toMatch(
      /the request was sent, and the MCP server may have done what was asked$/,
    );
    gateway.play = sayDone;
    // Were it sent again, it would have gone before this one.
    expect(await send()).toBe('done');
    expect(arrived()).toBe(2);
  },
);

describe('M143 a gateway that does not know the path of a server', () => {
  /** As a gateway of an older release: it has read nothing but the head. */
  const older: RequestListener = (req, res) => {
    res.removeHeader('chancery-server');
    if (req.url === '/mcp') sayDone(req, res);
    else res.writeHead(404, { connection: 'close' }).end('{}');
  };
  const paths = (): readonly (string | undefined)[] => gateway.arrived.map(({ url }) => url);

  test('gets the request once under the path that it knows, and later ones only there', async () => {
    gateway.play = older;
    expect([await send(), await send()]).toEqual(['done', 'done']);
    expect(paths()).toEqual(['/mcp/everything', '/mcp', '/mcp']);
  });

  test('gets each of the requests of one moment there', async () => {
    gateway.play = older;
    expect(await Promise.all([send(), send(), send()])).toEqual(['done', 'done', 'done']);
    expect(paths().filter((path) => path === '/mcp')).toHaveLength(3);
  });

  test('says so where it does not know the other path either', async () => {
    gateway.play = (req, res) => {
      res.removeHeader('chancery-server');
      res.writeHead(404).end(String(req.url));
    };
    expect(await send()).toBe('/mcp');
    expect(paths()).toEqual(['/mcp/everything', '/mcp']);
  });

  test('is not one whose server answers 404: that may have acted', async () => {
    gateway.play = (_req, res) => void res.writeHead(404).end('gone');
    expect(await send()).toBe('gone');
    expect(paths()).toEqual(['/mcp/everything']);
  });
});

test('M92 a gateway that switches protocols has answered with an error', async () => {
  gateway.play = ({ socket }) =>
    void socket.write('HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n');
  expect(await failure()).toMatch(/the answer was HTTP 101, and no other protocol .*; the request was sent/);
});

test('a request on a kept connection that closes under it arrives once', async () => {
  await send();
  gateway.play = ({ socket }) => void socket.destroy();
  expect(await failure()).toMatch(/the request was sent/);
  expect(arrived()).toBe(2);
});

test('a request for which no connection could be made is sent again, and arrives once', async () => {
  const { server, port } = gateway;
  const closed = once(server, 'close');
  server.close();
  await closed;
  const answer = send();
  await once(server.listen(port, '127.0.0.1'), 'listening');
  expect(await answer).toBe('done');
  expect(arrived()).toBe(1);
});

/** A way to the gateway that a test can break. */
async function startWay() {
  let passing = Number.POSITIVE_INFINITY;
  const open = new Set<Socket>();
  const way = createServer((near) => {
    const far = connect(gateway.port, '127.0.0.1');
    for (const socket of [near, far]) {
      open.add(socket);
      socket.on('error', () => {}).on('close', () => [near, far].forEach((each) => void each.destroy()));
    }
    far.pipe(near);
    near.on('data', (bytes: Buffer) => {
      const passes = bytes.subarray(0, passing);
      passing -= bytes.length;
      far.write(passes, () => passing <= 0 && breakNow());
    });
  });
  const breakNow = (): void => {
    passing = Number.POSITIVE_INFINITY;
    for (const socket of open) socket.destroy();
    open.clear();
  };
  await once(way.listen(0, '127.0.0.1'), 'listening');
  const close = (): void => {
    breakNow();
    way.close();
  };
  /** Lets so many bytes of the next request pass. */
  const breakAfter = (bytes: number): void => {
    passing = bytes;
  };
  return { port: portOf(way), breakAfter, breakNow, close };
}

/** A small request is one TLS record, of which the gateway reads all or nothing. */
test.each([
  ['before its first byte', 0],
  ['after its first byte', 1],
  ['between two bytes', 100],
])('a request whose way breaks %s does not arrive, and is not sent again', async (_name, bytes) => {
  const way = await startWay();
  dialler = gateway.dial(way.port);
  // The next request finds this connection, so that every byte on it is the request's.
  expect(await send()).toBe('done');
  way.breakAfter(bytes);
  expect(await failure()).toMatch(/the request was sent, and the MCP server may have done what was asked$/);
  // Were it sent again, it would have gone before this one.
  expect(await send()).toBe('done');
  expect(arrived()).toBe(2);
  way.close();
});

test.each<[string, RequestListener]>([
  ['after its last byte', () => {}],
  ['within its answer', (_req, res) => void res.write('do')],
])('a request whose way breaks %s arrives once', async (_name, answer) => {
  const way = await startWay();
  dialler = gateway.dial(way.port);
  expect(await send()).toBe('done');
  gateway.play = (req, res) => {
    answer(req, res);
    req.resume().once('end', () => setImmediate(way.breakNow));
  };
  await expect(send()).rejects.toThrow();
  gateway.play = sayDone;
  expect(await send()).toBe('done');
  expect(arrived()).toBe(3);
  way.close();
});
