import net from 'node:net';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import type { PlainServer } from '@chancery/shared/health/plain.ts';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { makeAuthorities } from '../../../test/kit/ca/authority.ts';
import { openRevocations } from '../revocation/revocations.ts';
import { type Crls, startCrls } from './crls.ts';
import { serveCrls } from './server.ts';
import type { MadeCrl } from './sign.ts';

let deps: Awaited<ReturnType<typeof makeAuthorities>>;
let crls: Crls;
let server: PlainServer;
let list: MadeCrl;
beforeEach(async () => {
  deps = await makeAuthorities();
  crls = startCrls({ ...deps, revocations: await openRevocations(deps), ttl: 3600, log: silentLog });
  server = await serveCrls({ host: '127.0.0.1', port: 0, lists: crls.lists, clock: deps.clock });
  await vi.waitFor(() => expect(crls.lists.has()).toBe(true));
  const [first] = crls.lists.current();
  if (first === undefined) throw new Error('no list');
  list = first;
});
afterEach(async () => {
  await server.close();
  await crls.close();
});

const ask = (path: string, init: RequestInit = {}) => fetch(`http://127.0.0.1:${server.port}${path}`, init);
const path = () => `/${list.serial}.crl`;

test('a list is served as it was signed, for as long as it lasts, to any host', async () => {
  const response = await ask(path(), { headers: { host: 'crl.prod.example' } });
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('application/pkix-crl');
  expect(response.headers.get('cache-control')).toBe('public, max-age=60');
  expect(response.headers.get('expires')).toBeNull();
  expect(Buffer.from(await response.arrayBuffer())).toEqual(Buffer.from(list.der));
});

test('a list is served to who asks by its whole URL, as proxies do', async () => {
  const socket = net.connect(server.port, '127.0.0.1');
  socket.write(
    `GET http://crl.prod.example${path()} HTTP/1.1\r\nhost: crl.prod.example\r\nconnection: close\r\n\r\n`,
  );
  const [first] = (await socket.setEncoding('latin1').toArray()) as string[];
  expect(first).toMatch(/^HTTP\/1.1 200 /);
});

test('a cache keeps no list beyond its end', async () => {
  deps.clock.jump(new Date(list.nextUpdate.getTime() - 7500));
  expect((await ask(path())).headers.get('cache-control')).toBe('public, max-age=7');
});

test.each([
  ['its tag', (etag: string) => etag, 304],
  ['its tag as a cache weakens it', (etag: string) => `W/${etag}`, 304],
  ['its tag among others', (etag: string) => `"0", ${etag}`, 304],
  ['anything', () => '*', 304],
  ['another tag', () => '"0"', 200],
  ['a longer tag', (etag: string) => `${etag.slice(0, -1)}0"`, 200],
])('a client that has %s gets it only if it is another', async (_what, header, status) => {
  const etag = (await ask(path())).headers.get('etag') ?? '';
  const again = await ask(path(), { headers: { 'if-none-match': header(etag) } });
  expect(again.status).toBe(status);
  expect((await again.text()) === '').toBe(status === 304);
});

test('HEAD says what GET would', async () => {
  const response = await ask(path(), { method: 'HEAD' });
  expect(response.status).toBe(200);
  expect(response.headers.get('content-length')).toBe(String(list.der.length));
  expect(await response.text()).toBe('');
});

test.each<{ what: string; name: () => string; status: number; init?: RequestInit }>([
  { what: 'the root of the server', name: () => '/', status: 404 },
  { what: 'a list of no issuer', name: () => '/40ff.crl', status: 404 },
  { what: 'another name of a list', name: () => path().toUpperCase(), status: 404 },
  { what: 'a list and more', name: () => `${path()}?a=b`, status: 404 },
  { what: 'metrics', name: () => '/metrics', status: 404 },
  { what: 'a list, by POST', name: path, status: 405, init: { method: 'POST', body: 'x' } },
])('I121 asked for $what it answers $status', async ({ name, status, init }) => {
  expect((await ask(name(), init)).status).toBe(status);
});

test('I121 a list that has ended is not served', async () => {
  deps.clock.jump(list.nextUpdate);
  const response = await ask(path());
  expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
});

test('before the first list it asks for patience', async () => {
  await server.close();
  const lists = new LiveValue<readonly MadeCrl[]>(() => new Error('none'));
  server = await serveCrls({ host: '127.0.0.1', port: 0, lists, clock: deps.clock });
  expect((await ask(path())).status).toBe(503);
});

test('I122 connections are bounded for each address, and those that say nothing give way', async () => {
  const sockets = Array.from({ length: 40 }, () => net.connect(server.port, '127.0.0.1'));
  const ended = sockets.map(
    (socket) => new Promise((resolve) => socket.on('error', resolve).on('close', resolve)),
  );
  await Promise.race(ended);
  expect((await ask(path())).status).toBe(200);
  for (const socket of sockets) socket.destroy();
  await Promise.all(ended);
});
