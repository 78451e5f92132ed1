import { once } from 'node:events';
import type { ClientRequest, ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { serverTls } from '@chancery/shared/tls/options.ts';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { live, TOOLS, TRIAGE, TrustDomainInMemory } from '../../../../test/kit/mcp/world/world.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { Claims } from './claims.ts';
import { DialAgent, type OnConnection, type Wanted } from './pool.ts';

const WARM = 32;
const MOST = 256;
const held: ServerResponse[] = [];
let connections: number;
let server: https.Server;
let pool: DialAgent;

beforeEach(async () => {
  // The pool's own timers run when a test says so; Node's do as ever.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const td = new TrustDomainInMemory();
  connections = 0;
  server = https.createServer({ ...serverTls(td.svid(TOOLS)) }, (_, res) => void held.push(res));
  server.on('connection', () => {
    connections += 1;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const to = McpServer.parse({
    kind: 'McpServer',
    name: 'everything',
    identity: TOOLS,
    address: `127.0.0.1:${port}`,
  });
  const claims = new Claims({
    links: new Map(),
    clock: systemClock,
    log: silentLog,
    closed: new AbortController().signal,
    svid: live(td.svid(TRIAGE)),
    gateway: () => undefined,
    ask: () => Promise.reject(new Error('nothing is claimed here')),
  });
  const revocations = live(revocationSet([], 1n));
  const sources = { svid: live(td.svid(TRIAGE)), bundle: td.bundle, revocations, clock: systemClock };
  pool = new DialAgent(to, sources, claims);
});

afterEach(async () => {
  vi.useRealTimers();
  pool.destroy();
  held.splice(0);
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
});

/** Resolves when it is answered. */
async function call(isClaim = false): Promise<void> {
  // A connection that is idle now is so until the request is made.
  const request = await new Promise<ClientRequest>((resolve, reject) => {
    const onConnection: OnConnection = (outcome) => {
      if (outcome === 'ready') resolve(https.request({ agent: pool, method: 'POST' }).end());
      else reject(new Error(String(outcome)));
    };
    pool.take({ onConnection, isClaim });
  });
  const [response] = await once(request, 'response');
  await once(response.resume(), 'end');
}

/** `vi.waitFor` would let the pool's timers run. */
async function until(holds: () => boolean): Promise<void> {
  const end = performance.now() + 30_000;
  while (!holds() && performance.now() < end) await setImmediate();
}

async function atServer(count: number): Promise<void> {
  await until(() => held.length === count);
  expect(held).toHaveLength(count);
}

test('calls that stay open get connections of their own, one after the other', async () => {
  for (let n = 0; n < WARM + 8; n += 1) void call().catch(() => {});
  await atServer(WARM);
  expect(connections).toBe(WARM);
  // None of them came free for so long.
  await vi.advanceTimersByTimeAsync(100);
  await atServer(WARM + 8);
  expect(connections).toBe(WARM + 8);
});

test('a claim gets a connection where calls hold all that there may be, before the calls that wait', async () => {
  for (let n = 0; n < MOST; n += 1) void call().catch(() => {});
  await atServer(WARM);
  await vi.advanceTimersByTimeAsync(100);
  await atServer(MOST);
  for (let n = 0; n < 3; n += 1) void call().catch(() => {});
  const claim = call(true);
  claim.catch(() => {});
  await atServer(MOST + 1);
  held.pop()?.end();
  await claim;
  expect(connections).toBe(MOST + 1);
});

test('a queue that drains gets no connection of its own', async () => {
  const waiting = await twentyWait();
  for (const one of waiting.slice(0, 10)) await endNewest(one);
  await vi.advanceTimersByTimeAsync(100);
  for (const one of waiting.slice(10, 11)) await endNewest(one);
  expect(connections).toBe(WARM);
  await vi.advanceTimersByTimeAsync(100);
  // Nine wait, and one was served in that time.
  await until(() => connections > WARM);
  expect(connections).toBe(WARM + 1);
});

test('a queue that stays gets connections, however fast its calls end', async () => {
  const waiting = [...(await twentyWait())];
  for (const one of waiting.slice(0, 10)) {
    await endNewest(one);
    // Each that ends makes another.
    const again = call();
    again.catch(() => {});
    waiting.push(again);
  }
  await vi.advanceTimersByTimeAsync(100);
  await until(() => connections > WARM);
  expect(connections).toBe(WARM + 1);
});

test('what became free before any request waited does not count', async () => {
  for (let n = 0; n < WARM; n += 1) void call().catch(() => {});
  await atServer(WARM);
  const freed = Array.from({ length: 8 }, () => once(pool, 'free'));
  for (const each of held.splice(0, 8)) each.end();
  await Promise.all(freed);
  for (let n = 0; n < 8; n += 1) void call().catch(() => {});
  await atServer(WARM);
  void call().catch(() => {});
  await vi.advanceTimersByTimeAsync(100);
  await atServer(WARM + 1);
  expect(connections).toBe(WARM + 1);
});

/** Calls that wait where others hold all warm connections, of which some have become free before. */
async function twentyWait(): Promise<readonly Promise<void>[]> {
  const first = call();
  await atServer(1);
  for (let n = 1; n < WARM; n += 1) void call().catch(() => {});
  await atServer(WARM);
  const free = once(pool, 'free');
  held.shift()?.end();
  await Promise.all([first, free]);
  const waiting = Array.from({ length: 20 }, () => call());
  for (const each of waiting) each.catch(() => {});
  await atServer(WARM);
  return waiting;
}

/** The newest call at the server is the one that waited longest. */
async function endNewest(one: Promise<void>): Promise<void> {
  await atServer(WARM);
  held.pop()?.end();
  await one;
  expect(connections).toBe(WARM);
}

test('those that wait when the pool is retired hear so at once, and it makes no more connections', async () => {
  const turns: unknown[] = [];
  const wanted: Wanted = {
    isClaim: false,
    onConnection(outcome) {
      turns.push(outcome);
      expect(() => pool.take(wanted)).toThrow(refusal('unavailable', /given up/));
    },
  };
  pool.take(wanted);
  pool.retire();
  expect(turns).toEqual(['retired']);
  await until(() => connections > 0);
  for (let n = 0; n < 100; n += 1) await vi.advanceTimersByTimeAsync(10);
  expect(connections).toBe(1);
});

test('one that waits no longer gets no connection', async () => {
  const turns: unknown[] = [];
  const wanted: Wanted = { isClaim: false, onConnection: (outcome) => void turns.push(outcome) };
  pool.take(wanted);
  pool.leave(wanted);
  const next = call();
  await atServer(1);
  held[0]?.end();
  await next;
  expect(turns).toEqual([]);
});

describe('M80 a connection that was made for a request that went elsewhere', () => {
  const spare = async (): Promise<TLSSocket> => {
    const wanted: Wanted = { onConnection: () => {}, isClaim: false };
    const made = once(server, 'secureConnection');
    pool.take(wanted);
    pool.leave(wanted);
    const [socket] = (await made) as [TLSSocket];
    return socket;
  };

  test('is closed long before the gateway answers it with 408', async () => {
    const socket = await spare();
    socket.resume();
    for (let n = 0; n < 16 && !socket.closed; n += 1) {
      await vi.advanceTimersByTimeAsync(1_000);
      await setImmediate();
    }
    await until(() => socket.closed);
    expect(socket.closed).toBe(true);
  });

  test('is taken by no call once an answer came on it', async () => {
    const socket = await spare();
    socket.end('HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    await once(socket, 'finish');
    for (let n = 0; n < 100; n += 1) await setImmediate();
    const next = call();
    await atServer(1);
    held[0]?.end();
    await next;
    expect(connections).toBe(2);
  });
});

test('at most 4,096 requests wait for a connection, and a claim beside them', () => {
  const onConnection: OnConnection = () => {};
  for (let n = 0; n < 4_096; n += 1) pool.take({ onConnection, isClaim: false });
  expect(() => pool.take({ onConnection, isClaim: false })).toThrow(/^4096 requests wait/);
  pool.take({ onConnection, isClaim: true });
});
