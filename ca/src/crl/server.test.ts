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
  const life = Math.floor((list.nextUpdate.getTime() - deps.clock.now().getTime()) / 1000);
  expect(response.headers.get('cache-control')).toBe(`public, max-age=${life}`);
  expect(response.headers.get('expires')).toBe(list.nextUpdate.toUTCString());
  expect(Buffer.from(await response.arrayBuffer())).toEqual(Buffer.from(list.der));
});

test('a client that has it gets nothing', async () => {
  const etag = (await ask(path())).headers.get('etag') ?? '';
  const again = await ask(path(), { headers: { 'if-none-match': etag } });
  expect([again.status, await again.text()]).toEqual([304, '']);
  const other = await ask(path(), { headers: { 'if-none-match': '"0"' } });
  expect(other.status).toBe(200);
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
