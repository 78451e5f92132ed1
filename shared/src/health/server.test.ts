import http from 'node:http';
import net from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import type { PlainServer } from './plain.ts';
import { serveHealth } from './server.ts';

let server: PlainServer;
let why: string | undefined;
const metrics = {
  contentType: 'text/plain; version=0.0.4',
  text: async () => (why === 'a bug' ? Promise.reject(new Error(why)) : 'up 1\n'),
};
const serve = (more: Partial<Parameters<typeof serveHealth>[0]> = {}) =>
  serveHealth({ host: '127.0.0.1', port: 0, metrics, unfit: () => why, ...more });
beforeAll(async () => {
  server = await serve();
});
afterAll(() => server.close());

async function get(path: string, init: RequestInit = {}, { port } = server) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, init);
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() };
}
const text = 'text/plain; charset=utf-8';

test.each<[string, string, RequestInit, object]>([
  ['the process answers', '/healthz', {}, { status: 200, type: text, body: 'ok\n' }],
  ['it can work', '/readyz', {}, { status: 200, type: text, body: 'ready\n' }],
  ['metrics are asked for', '/metrics', {}, { status: 200, type: metrics.contentType, body: 'up 1\n' }],
  ['only the head is asked for', '/healthz', { method: 'HEAD' }, { status: 200, type: text, body: '' }],
  ['there is nothing', '/', {}, { status: 404, type: text, body: 'see /healthz, /readyz, /metrics\n' }],
  ['a path only begins alike', '/metrics/../x', {}, { status: 404, type: text, body: expect.any(String) }],
  [
    'something is to be changed',
    '/healthz',
    { method: 'POST' },
    { status: 405, type: text, body: 'GET only\n' },
  ],
])('where %s', async (_, path, init, answer) => {
  expect(await get(path, init)).toEqual(answer);
});

test('I307 what works, and something of it does not, is ready and says what, on loopback alone', async () => {
  const impaired = () => 'the log does not grow';
  for (const [more, body] of [
    [{}, 'ready, but the log does not grow\n'],
    [{ metrics: undefined }, 'ready\n'],
  ] as const) {
    const open = await serve({ impaired, ...more });
    try {
      expect(await get('/readyz', {}, open)).toEqual({ status: 200, type: text, body });
    } finally {
      await open.close();
    }
  }
});

test('what cannot work says why, and lives', async () => {
  why = 'the issuing authority is not valid now';
  expect(await get('/readyz')).toEqual({ status: 503, type: text, body: `${why}\n` });
  expect((await get('/healthz')).status).toBe(200);
  why = undefined;
});

test('a fault while answering is told to nobody', async () => {
  why = 'a bug';
  expect(await get('/metrics')).toMatchObject({ status: 500, body: '' });
  why = undefined;
});

test('an address that is taken is refused', async () => {
  const again = serve({ port: server.port });
  await expect(again).rejects.toThrow(
    refusal('unavailable', /^cannot listen on 127\.0\.0\.1:\d+: another process has this address/),
  );
});

test('closing does not wait for a client that holds its connection', async () => {
  const own = await serve();
  const agent = new http.Agent({ keepAlive: true });
  await new Promise((resolve) => {
    http.get({ port: own.port, path: '/healthz', agent }, (response) => response.resume().on('end', resolve));
  });
  const silent = net.connect(own.port, '127.0.0.1');
  await new Promise((resolve) => silent.once('connect', resolve));
  const closed = new Promise((resolve) => silent.once('close', resolve));
  await own.close();
  await closed;
  agent.destroy();
});

/** As a web page asks whose name was made to resolve to this machine. */
const asked = (port: number, host: string): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    const request = http.get({ port, path: '/metrics', headers: { host }, agent: false }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode));
    });
    request.once('error', reject);
  });

test.each([
  ['127.0.0.1', 200],
  ['127.0.0.1:9464', 200],
  ['LOCALHOST:9464', 200],
  ['[::1]:9464', 200],
  ['evil.example:9464', 421],
  ['127.0.0.1.evil.example', 421],
])('metrics are shown to who asks for a name of this machine: %s', async (host, status) => {
  expect(await asked(server.port, host)).toBe(status);
});

test('health alone is served to any name, and nothing else', async () => {
  const open = await serve({ metrics: undefined });
  const missing = { status: 404, body: 'see /healthz, /readyz\n' };
  expect(await get('/metrics', {}, open)).toMatchObject(missing);
  expect(await get('/healthz', {}, open)).toMatchObject({ status: 200 });
  expect(await asked(open.port, 'node-7.example')).toBe(404);
  await open.close();
});

test('health alone does not say why it is not ready; the log does, once a reason', async () => {
  const logged: object[] = [];
  const open = await serve({ metrics: undefined, log: { warn: (fields) => void logged.push(fields) } });
  for (const reason of ['/var/lib/chancery/ca.db-wal: another file is there', 'revoked', 'revoked']) {
    why = reason;
    expect(await get('/readyz', {}, open)).toEqual({ status: 503, type: text, body: 'not ready\n' });
  }
  why = undefined;
  expect(logged).toEqual([
    { reason: '/var/lib/chancery/ca.db-wal: another file is there' },
    { reason: 'revoked' },
  ]);
  await open.close();
});
