import http from 'node:http';
import net from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { type HttpServer, serveHttp } from './server.ts';

let server: HttpServer;
let why: string | undefined;
let metrics: Metrics;
beforeAll(async () => {
  metrics = createMetrics({
    authorities: () => [{ kind: 'root', serial: '40aa', notAfter: after(60) }],
    connectedAgents: () => 7,
    openExchanges: () => 3,
    revocations: () => 5,
    now: () => NOW,
  });
  const failing = {
    ...metrics,
    text: async () => (why === 'a bug' ? Promise.reject(new Error(why)) : metrics.text()),
  };
  server = await serveHttp({ host: '127.0.0.1', port: 0, metrics: failing, unfit: () => why });
});
afterAll(() => server.close());

async function get(path: string, init: RequestInit = {}) {
  const response = await fetch(`http://127.0.0.1:${server.port}${path}`, init);
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() };
}
const text = 'text/plain; charset=utf-8';

test.each<[string, string, RequestInit, object]>([
  ['the process answers', '/healthz', {}, { status: 200, type: text, body: 'ok\n' }],
  ['it can issue', '/readyz', {}, { status: 200, type: text, body: 'ready\n' }],
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

test('a CA that cannot issue says why, and lives', async () => {
  why = 'the issuing authority is not valid now';
  expect(await get('/readyz')).toEqual({ status: 503, type: text, body: `${why}\n` });
  expect((await get('/healthz')).status).toBe(200);
  why = undefined;
});

test('metrics are counted by short lists of labels, and measured when they are asked for', async () => {
  metrics.outcome('tpm', 'issued');
  metrics.outcome('tpm', 'issued');
  metrics.observe('Attest', 0.003, 'ok');
  const { body, type } = await get('/metrics');
  expect(type).toMatch(/^text\/plain; version=/);
  const lines = body.split('\n');
  for (const line of [
    'chancery_issuances_total{platform="tpm",outcome="issued"} 2',
    'chancery_rpc_duration_seconds_bucket{le="0.0025",rpc="Attest",outcome="ok"} 0',
    'chancery_rpc_duration_seconds_bucket{le="0.005",rpc="Attest",outcome="ok"} 1',
    'chancery_authority_expiry_seconds{kind="root",serial="40aa"} 60',
    'chancery_connected_agents 7',
    'chancery_open_exchanges 3',
    'chancery_revocations 5',
  ])
    expect(lines).toContain(line);
  expect(body).toMatch(/^process_resident_memory_bytes \d+/m);
});

test('a fault while answering is told to nobody', async () => {
  why = 'a bug';
  expect(await get('/metrics')).toMatchObject({ status: 500, body: '' });
  why = undefined;
});

test('an address that is taken is refused', async () => {
  const again = serveHttp({ host: '127.0.0.1', port: server.port, metrics, unfit: () => undefined });
  await expect(again).rejects.toThrow(
    refusal('unavailable', /^cannot serve HTTP on 127\.0\.0\.1:\d+: listen EADDRINUSE/),
  );
});

test('closing does not wait for a client that holds its connection', async () => {
  const own = await serveHttp({ host: '127.0.0.1', port: 0, metrics, unfit: () => undefined });
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
