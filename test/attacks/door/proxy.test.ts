/** Bytes that are no request of MCP's, at the gateway's port and at connect's: rows I21 and I22. */
import net from 'node:net';
import tls, { type ConnectionOptions } from 'node:tls';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ask } from '../../kit/mcp/clients/ask.ts';
import { startPlayed, stopPlayed } from '../../kit/mcp/clients/caller.ts';
import type { FakeServer } from '../../kit/mcp/servers/server.ts';
import { connectTo, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

let server: FakeServer;
let world: World;
beforeAll(async () => {
  ({ server, world } = await startPlayed());
});
afterAll(() => stopPlayed(world, server));
beforeEach(() => {
  server.seen.length = 0;
});

const BODY = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } });
const STANDARD = [
  'Host: gateway',
  'Content-Type: application/json',
  'Accept: application/json, text/event-stream',
];

/** A request as it stands on the wire. */
const raw = (first: string, headers: readonly string[], body: string): string =>
  `${[first, ...STANDARD, ...headers].join('\r\n')}\r\n\r\n${body}`;
const LENGTH = `Content-Length: ${BODY.length}`;
const POST = 'POST /mcp HTTP/1.1';

const overTls = (options: ConnectionOptions = {}) => {
  const own = clientTls(world.td.svid(TRIAGE), world.td.bundle.current());
  const where = { host: '127.0.0.1', port: world.gateway.port, checkServerIdentity: () => undefined };
  return tls.connect({ ...own, ...where, ...options });
};

/** All that comes back before the other side hangs up, which an answer that ends the connection makes it do. */
async function exchange(socket: net.Socket, bytes: string | Uint8Array): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await new Promise<void>((resolve) => {
    socket.once('error', () => resolve());
    socket.once('close', () => resolve());
    socket.write(bytes);
  });
  return Buffer.concat(chunks).toString('latin1');
}

const stillServes = async (): Promise<void> => {
  const { status } = await ask(world, world.td.svid(TRIAGE), { body: BODY });
  expect([status, server.seen.length]).toEqual([200, 1]);
};

test('the genuine request is answered', async () => {
  const answer = await exchange(overTls(), raw(POST, [LENGTH, 'Connection: close'], BODY));
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  expect(server.seen).toHaveLength(1);
});

describe('I21 two readings of one request', () => {
  const chunked = `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`;
  const smuggled = raw(POST, [LENGTH, 'Connection: close'], BODY);
  test.each<[string, string]>([
    ['a length and chunks', raw(POST, [LENGTH, 'Transfer-Encoding: chunked'], chunked)],
    [
      'chunks and a length',
      raw(POST, ['Transfer-Encoding: chunked', 'Content-Length: 0'], chunked + smuggled),
    ],
    ['two lengths', raw(POST, [LENGTH, 'Content-Length: 1'], BODY)],
    ['a length with a sign', raw(POST, [`Content-Length: +${BODY.length}`], BODY)],
    ['chunks by another name', raw(POST, ['Transfer-Encoding: xchunked'], chunked)],
    ['chunks twice', raw(POST, ['Transfer-Encoding: chunked, identity'], chunked)],
    ['a folded header', raw(POST, ['X-A: b\r\n folded', LENGTH], BODY)],
    ['a header without a name', raw(POST, [': x', LENGTH], BODY)],
    ['a space before the colon', raw(POST, [`Content-Length : ${BODY.length}`], BODY)],
    ['a bare line feed', raw(POST, ['X-A: b\nContent-Length: 0', LENGTH], BODY)],
    ['a NUL in a header', raw(POST, ['X-A: a\0b', LENGTH], BODY)],
    ['CONNECT', raw('CONNECT 169.254.169.254:80 HTTP/1.1', [], '')],
    ['an unknown version', raw('POST /mcp HTTP/9.9', [LENGTH], BODY)],
    ['headers without end', raw(POST, [`X-A: ${'a'.repeat(64 * 1024)}`, LENGTH], BODY)],
  ])('%s is refused and nothing of it goes on', async (_, bytes) => {
    const answer = await exchange(overTls(), bytes);
    expect(answer).not.toMatch(/^HTTP\/1\.1 2/m);
    expect(answer === '' || /^HTTP\/1\.1 4\d\d /.test(answer)).toBe(true);
    expect(server.seen).toEqual([]);
    await stillServes();
  });

  test.each([
    ['h2c', ['Connection: Upgrade, HTTP2-Settings, close', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk']],
    ['websocket', ['Connection: Upgrade, close', 'Upgrade: websocket', 'Sec-WebSocket-Key: x']],
  ])('an upgrade to %s does not happen', async (_, headers) => {
    const answer = await exchange(overTls(), raw(POST, [LENGTH, ...headers], BODY));
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(server.seen).toHaveLength(1);
  });
});

describe('I22 the wrong protocol at a port', () => {
  test('plain HTTP at the gateway', async () => {
    const socket = net.connect(world.gateway.port, '127.0.0.1');
    expect(await exchange(socket, raw(POST, [LENGTH], BODY))).not.toMatch(/HTTP/);
    expect(server.seen).toEqual([]);
    await stillServes();
  });

  test('TLS at connect’s plain port', async () => {
    const connect = await connectTo(world, { kind: 'tcp', port: 0 });
    try {
      const socket = tls.connect({ host: '127.0.0.1', port: connect.port ?? 0, rejectUnauthorized: false });
      const failed = await new Promise<Error>((resolve) => socket.once('error', resolve));
      expect(String(failed)).toMatch(/SSL|hang up|ECONNRESET|disconnected/);
    } finally {
      await connect.close();
    }
    expect(server.seen).toEqual([]);
  });

  test.each([['h2'], ['spdy/3.1']])('a client that speaks %s only', async (protocol) => {
    const failed = await new Promise<Error>((resolve) =>
      overTls({ ALPNProtocols: [protocol] }).once('error', resolve),
    );
    expect(String(failed)).toMatch(/no application protocol/i);
  });

  test('another host’s name in the handshake chooses no other certificate', async () => {
    const socket = overTls({ servername: 'internal.example' });
    await new Promise<void>((resolve) => socket.once('secureConnect', () => resolve()));
    expect(socket.getPeerCertificate().subjectaltname).toBe(`URI:${world.gatewaySvid.current().id}`);
    socket.destroy();
  });
});
