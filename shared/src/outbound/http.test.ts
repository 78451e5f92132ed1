import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { openOutbound } from './http.ts';

type Answer = (request: http.IncomingMessage, reply: http.ServerResponse) => void;

const outbound = openOutbound();
let answer: Answer;
let sockets: Set<unknown>;
const server = http.createServer((request, reply) => {
  sockets.add(request.socket);
  answer(request, reply);
});
let url: string;
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(() => {
  sockets = new Set();
  answer = (_, reply) => void reply.end('ok');
});
afterAll(() => {
  outbound.close();
  server.closeAllConnections();
  server.close();
});

test('sends what it is given and gives what came, whatever its status', async () => {
  answer = (request, reply) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      reply.writeHead(418, { 'content-type': 'text/plain' });
      reply.end(`${request.method} ${request.url} ${request.headers['x-a']} ${Buffer.concat(chunks)}`);
    });
  };
  const reply = await outbound.request({
    url: `${url}/p?q=1`,
    method: 'PUT',
    headers: { 'x-a': 'b' },
    body: 'body',
  });
  expect({ ...reply, body: Buffer.from(reply.body).toString() }).toEqual({
    status: 418,
    contentType: 'text/plain',
    body: 'PUT /p?q=1 b body',
  });
});

test('keeps its connection for the next question', async () => {
  for (let n = 0; n < 3; n += 1) await outbound.request({ url });
  expect(sockets.size).toBe(1);
});

test('asks again where a kept connection was closed in the same moment', async () => {
  await outbound.request({ url });
  let closed = false;
  answer = (request, reply) => {
    if (closed) return void reply.end('again');
    closed = true;
    request.socket.resetAndDestroy();
  };
  expect(Buffer.from((await outbound.request({ url })).body).toString()).toBe('again');
});

test('does not follow a redirect', async () => {
  const asked: string[] = [];
  answer = (request, reply) => {
    asked.push(request.url ?? '');
    reply.writeHead(302, { location: `${url}/elsewhere` }).end();
  };
  expect(await outbound.request({ url: `${url}/here` })).toMatchObject({ status: 302 });
  expect(asked).toEqual(['/here']);
});

describe('no answer', () => {
  const drip: Answer = (_, reply) => {
    reply.write('a');
    const timer = setInterval(() => reply.write('a'), 5);
    reply.on('close', () => clearInterval(timer));
  };
  test.each<[string, Answer, object, RegExp]>([
    ['where it hangs', () => {}, { timeoutMs: 50 }, /^http:\S+: no whole answer in 0\.05 s$/],
    ['where it drips', drip, { timeoutMs: 100 }, /no whole answer in 0\.1 s$/],
    [
      'where it is too long',
      (_, reply) => void reply.end('x'.repeat(101)),
      { maxBytes: 100 },
      /longer than 100 bytes$/,
    ],
    [
      'where it is cut off',
      (_, reply) => {
        reply.writeHead(200, { 'content-length': '10' });
        reply.write('x');
        setImmediate(() => reply.destroy());
      },
      {},
      /aborted|hang up|ECONNRESET/,
    ],
  ])('%s', async (_, how, changes, says) => {
    answer = how;
    await expect(outbound.request({ url, ...changes })).rejects.toThrow(
      refusal('platform_unavailable', says),
    );
  });

  test('where nobody listens', async () => {
    const attempt = outbound.request({ url: 'http://127.0.0.1:1/' });
    await expect(attempt).rejects.toThrow(
      refusal('platform_unavailable', /^http:\/\/127\.0\.0\.1:1\/: .*ECONNREFUSED/),
    );
  });

  test('where the caller gives up', async () => {
    answer = () => {};
    const stop = new AbortController();
    const attempt = outbound.request({ url, signal: stop.signal });
    stop.abort();
    await expect(attempt).rejects.toThrow(refusal('platform_unavailable', /aborted/));
  });
});

test.each(['ftp://a', 'file:///etc/passwd', 'http://user@host/', 'nonsense'])(
  '%s is not called',
  async (bad) => {
    await expect(outbound.request({ url: bad })).rejects.toThrow(TypeError);
  },
);
