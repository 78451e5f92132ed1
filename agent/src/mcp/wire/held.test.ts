import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Held } from './held.ts';

let server: Server;
let held: Held;
let res: ServerResponse;
let response: Promise<IncomingMessage>;
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const arrived = once(server, 'request');
  const { port } = server.address() as AddressInfo;
  const outgoing = request({ host: '127.0.0.1', port, agent: false }).end();
  outgoing.on('error', () => {});
  response = once(outgoing, 'response').then(([head]) => head);
  response.catch(() => {});
  [, res] = (await arrived) as [IncomingMessage, ServerResponse];
  held = new Held(res);
});
afterEach(() => {
  vi.useRealTimers();
  server.closeAllConnections();
  server.close();
});

const HEADERS = { 'content-type': 'text/event-stream' };

test('the head leaves with what waits for it, when it is released', async () => {
  held.open(HEADERS, false);
  held.write('id: 1\n\n');
  held.write('id: 2\n\n');
  await vi.advanceTimersByTimeAsync(60_000);
  expect([held.holds, res.headersSent]).toEqual([true, false]);
  held.release();
  expect([held.holds, res.headersSent]).toEqual([false, true]);
  held.write('id: 3\n\n');
  res.end();
  const head = await response;
  expect([head.statusCode, head.headers['content-type']]).toEqual([200, 'text/event-stream']);
  expect(await text(head)).toBe('id: 1\n\nid: 2\n\nid: 3\n\n');
});

test('a head without events leaves at once when it is released', async () => {
  held.open(HEADERS, false);
  held.release();
  expect((await response).statusCode).toBe(200);
});

test('held briefly, it leaves by itself after 5 ms', async () => {
  held.open(HEADERS, true);
  await vi.advanceTimersByTimeAsync(4);
  expect(res.headersSent).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(res.headersSent).toBe(true);
});

test('dropped events are never written', async () => {
  held.open(HEADERS, true);
  held.write('id: 1\n\n');
  held.drop();
  held.release();
  await vi.advanceTimersByTimeAsync(100);
  expect([held.holds, res.headersSent]).toEqual([false, false]);
});

test('nothing is released before it is open', () => {
  held.release();
  expect([held.holds, res.headersSent]).toEqual([false, false]);
});
