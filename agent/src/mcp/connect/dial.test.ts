import { once } from 'node:events';
import type { IncomingMessage, RequestListener } from 'node:http';
import https from 'node:https';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { serverTls } from '@chancery/shared/tls/options.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { live, policyFor, TOOLS, TRIAGE, TrustDomainInMemory } from '../../../../test/kit/mcp/world.ts';
import { Dialler } from './dial.ts';

/** More than the buffers of both ends hold: the rest is on its way when the head has come. */
const LARGE = 'x'.repeat(16 * 1024 * 1024);
const td = new TrustDomainInMemory();
let server: https.Server;
let onRequest: RequestListener;
let arrived: number;
let dialler: Dialler;

beforeEach(async () => {
  arrived = 0;
  onRequest = (req, res) => void req.resume().once('end', () => res.end('done'));
  server = https.createServer({ ...serverTls(td.svid(TOOLS)) }, (req, res) => {
    arrived += 1;
    req.on('error', () => {});
    onRequest(req, res);
  });
  server.on('tlsClientError', () => {});
  await once(server.listen(0, '127.0.0.1'), 'listening');
  dialler = dial(portOf(server));
});

afterEach(async () => {
  dialler.close();
  server.closeAllConnections();
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  await closed;
});

const portOf = (of: Server): number => (of.address() as AddressInfo).port;

function dial(port: number): Dialler {
  return new Dialler({
    server: 'everything',
    svid: live(td.svid(TRIAGE)),
    bundle: td.bundle,
    policy: live(policyFor(port, { allow: ['*'] })),
    revocations: live(revocationSet([], 1n)),
    clock: systemClock,
    log: silentLog,
  });
}

async function send(body = '{}'): Promise<string> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const posted = { method: 'POST', headers: {}, body } as const;
    dialler.send(posted, { onResponse: resolve, onError: reject });
  });
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += String(chunk);
  return text;
}

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
    onRequest = cut;
    expect(await failure(body)).toMatch(
      /the request was sent, and the MCP server may have done what was asked$/,
    );
    onRequest = (req, res) => void req.resume().once('end', () => res.end('done'));
    // Were it sent again, it would have gone before this one.
    expect(await send()).toBe('done');
    expect(arrived).toBe(2);
  },
);

test('M92 a gateway that switches protocols has answered with an error', async () => {
  onRequest = ({ socket }) =>
    void socket.write('HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n');
  expect(await failure()).toMatch(/the answer was HTTP 101, and no other protocol .*; the request was sent/);
});

test('a request on a kept connection that closes under it arrives once', async () => {
  await send();
  onRequest = ({ socket }) => void socket.destroy();
  expect(await failure()).toMatch(/the request was sent/);
  expect(arrived).toBe(2);
});

test('a request for which no connection could be made is sent again, and arrives once', async () => {
  const port = portOf(server);
  const closed = once(server, 'close');
  server.close();
  await closed;
  const answer = send();
  await once(server.listen(port, '127.0.0.1'), 'listening');
  expect(await answer).toBe('done');
  expect(arrived).toBe(1);
});

/** A way to the gateway that a test can break. */
async function startWay() {
  let passing = Number.POSITIVE_INFINITY;
  const open = new Set<Socket>();
  const way = createServer((near) => {
    const far = connect(portOf(server), '127.0.0.1');
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
  dialler.close();
  dialler = dial(way.port);
  // The next request finds this connection, so that every byte on it is the request's.
  expect(await send()).toBe('done');
  way.breakAfter(bytes);
  expect(await failure()).toMatch(/the request was sent, and the MCP server may have done what was asked$/);
  // Were it sent again, it would have gone before this one.
  expect(await send()).toBe('done');
  expect(arrived).toBe(2);
  way.close();
});

test.each<[string, RequestListener]>([
  ['after its last byte', () => {}],
  ['within its answer', (_req, res) => void res.write('do')],
])('a request whose way breaks %s arrives once', async (_name, answer) => {
  const way = await startWay();
  dialler.close();
  dialler = dial(way.port);
  expect(await send()).toBe('done');
  onRequest = (req, res) => {
    answer(req, res);
    req.resume().once('end', () => setImmediate(way.breakNow));
  };
  await expect(send()).rejects.toThrow();
  onRequest = (req, res) => void req.resume().once('end', () => res.end('done'));
  expect(await send()).toBe('done');
  expect(arrived).toBe(3);
  way.close();
});
