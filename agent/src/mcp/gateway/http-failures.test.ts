import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { IdentityError } from '@chancery/shared/ground/errors.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { recordHttpFailures } from './http-failures.ts';

let server: Server;
let refused: [error: IdentityError, method: string | undefined, wasOpen: boolean][];
let requests: string[];
beforeEach(async () => {
  [refused, requests] = [[], []];
  server = createServer({ connectionsCheckingInterval: 20, headersTimeout: 50, requestTimeout: 50 });
  recordHttpFailures(server, {
    onRequest(req, res) {
      requests.push(String(req.headers.expect));
      res.writeContinue();
      req.resume().once('end', () => res.writeHead(200, { connection: 'close' }).end('done'));
    },
    onRefused: (socket, error, method) => void refused.push([error, method, !socket.destroyed]),
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

function dial(): Socket {
  return connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {});
}
/** All that comes back, once the connection has ended. */
async function say(request: string): Promise<string> {
  const socket = dial();
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  socket.write(request);
  await once(socket, 'close');
  return text;
}

const POST = 'POST /mcp HTTP/1.1\r\nhost: x\r\n';
const parsing = (code: string) => refusal('mcp_parse', new RegExp(`could not be read: ${code}$`));
test.each<[string, string, string, object]>([
  ['no HTTP', 'garbage\r\n\r\n', '400 Bad Request', parsing('HPE_INVALID_METHOD')],
  [
    'two lengths',
    `${POST}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n`,
    '400 Bad Request',
    parsing('HPE_[A-Z_]+'),
  ],
  ['too many headers', `${POST}x: ${'x'.repeat(20_000)}\r\n\r\n`, '431', parsing('HPE_HEADER_OVERFLOW')],
  [
    'too long an extension of a chunk',
    `${POST}transfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n1;${'x'.repeat(20_000)}`,
    '413',
    parsing('HPE_CHUNK_EXTENSIONS_OVERFLOW'),
  ],
  ['half a request', POST, '408 Request Timeout', parsing('ERR_HTTP_REQUEST_TIMEOUT')],
])('%s is recorded, answered and ends its connection', async (_name, request, status, error) => {
  const text = await say(request);
  expect(text).toContain(`HTTP/1.1 ${status}`);
  expect(text).toMatch(/\r\nConnection: close\r\nContent-Length: 0\r\n\r\n$/);
  expect(refused).toEqual([[error, undefined, true]]);
});

test('CONNECT is refused with its method on record', async () => {
  expect(await say('CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n')).toMatch(
    /^HTTP\/1.1 405 Method Not Allowed\r\n/,
  );
  expect(refused).toEqual([[refusal('mcp_method', /not an HTTP proxy$/), 'CONNECT', true]]);
});

test('any Expect other than 100-continue is refused', async () => {
  const text = await say(`${POST}expect: magic\r\ncontent-length: 0\r\n\r\n`);
  expect(text).toMatch(/^HTTP\/1.1 417 Expectation Failed\r\n[\s\S]*connection: close/i);
  expect(refused).toEqual([[refusal('mcp_parse', /only Expect: 100-continue/), 'POST', true]]);
});

test('a client that waits for 100 is an ordinary one', async () => {
  const text = await say(`${POST}expect: 100-continue\r\ncontent-length: 1\r\n\r\nx`);
  expect(text).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK[\s\S]*\r\ndone\r\n/);
  expect([requests, refused]).toEqual([['100-continue'], []]);
});

test('a connection that breaks is no request', async () => {
  const arrived = once(server, 'connection');
  const socket = dial();
  const [theirs] = (await arrived) as [Socket];
  const closed = new Promise((resolve) => theirs.once('close', resolve));
  socket.write(POST.slice(0, 9), () => socket.resetAndDestroy());
  await closed;
  expect(refused).toEqual([]);
});
