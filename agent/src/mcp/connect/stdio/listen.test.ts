import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { after, NOW } from '../../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import {
  afterBody,
  type PlayedGateway,
  playGateway,
} from '../../../../../test/kit/mcp/world/played-gateway.ts';
import type { Dialler } from '../dial.ts';
import { Exchanges } from './exchange.ts';
import { StdioListen } from './listen.ts';

let gateway: PlayedGateway;
let dialler: Dialler;
let clock: ManualClock;
let exchanges: Exchanges;
let listen: StdioListen;
/** What the server says of its own accord, as its client gets it. */
let heard: unknown[];
/** Streams that were asked for, and what becomes of the next. */
let streams: IncomingMessage[];
let next: RequestListener;
let session: string;
beforeEach(async () => {
  [heard, streams, session] = [[], [], 's1'];
  gateway = await playGateway();
  gateway.play = (req, res) => {
    if (req.method === 'POST') return initialized(req, res);
    streams.push(req);
    next(req, res);
  };
  dialler = gateway.dial();
  clock = new ManualClock(NOW);
  const write = (message: unknown): boolean => heard.push(message) > 0;
  const client = { clock, log: silentLog, write, onDrain: () => {}, full: () => false };
  exchanges = new Exchanges({ dialler, ...client });
  listen = new StdioListen({ dialler, clock, exchanges });
  await begin();
});
afterEach(async () => {
  listen.stop();
  await gateway.close();
});

const initialized = afterBody((body, _req, res) => {
  const { id } = JSON.parse(body);
  res.setHeader('mcp-session-id', session).setHeader('content-type', 'application/json');
  res.end(JSON.stringify({ jsonrpc: '2.0', id, result: { protocolVersion: '2025-11-25' } }));
});
async function begin(): Promise<void> {
  await exchanges.send({ kind: 'request', id: 0, method: 'initialize', params: {} });
  heard.length = 0;
}
const status =
  (code: number): RequestListener =>
  (_req, res) =>
    void res.writeHead(code).end();
const events =
  (text: string): RequestListener =>
  (_req, res) =>
    void res.writeHead(200, { 'content-type': 'text/event-stream' }).end(text);

/** Runs the clock to this second, when the pause before it has begun. */
async function pauseUntil(second: number): Promise<void> {
  await expect.poll(() => clock.sleeping).toBe(1);
  clock.advanceTo(after(second));
}
const asked = (count: number): Promise<void> => expect.poll(() => streams.length).toBe(count);

test('the stream is asked for in the session, and what comes on it goes to the client', async () => {
  next = events('data: {"jsonrpc":"2.0","method":"notifications/message"}\n\n');
  listen.start();
  await expect.poll(() => heard).toMatchObject([{ method: 'notifications/message' }]);
  expect(streams).toHaveLength(1);
  const [{ method, headers } = { method: '', headers: {} }] = streams;
  expect(method).toBe('GET');
  expect(headers).toMatchObject({
    accept: 'text/event-stream',
    'mcp-session-id': 's1',
    'mcp-protocol-version': '2025-11-25',
  });
  expect(headers).not.toHaveProperty('last-event-id');
});

test('it is asked for once, however often it is started', async () => {
  next = () => {};
  listen.start();
  listen.start();
  await asked(1);
  next = status(200);
  expect(streams).toHaveLength(1);
});

test('405 ends it for good', async () => {
  let answer: ServerResponse | undefined;
  next = (_req, res) => {
    answer = res;
  };
  listen.start();
  await asked(1);
  answer?.writeHead(405).end();
  await expect.poll(() => answer?.writableFinished).toBe(true);
  // A request on the same connection comes after what would follow.
  await exchanges.send({ kind: 'request', id: 9, method: 'ping', params: undefined });
  expect([clock.sleeping, streams.length]).toEqual([0, 1]);
});

test('where there is none for now, it is asked for again after 1 s, doubling to 30 s', async () => {
  next = status(503);
  listen.start();
  let second = 0;
  for (const [n, wait] of [1, 2, 4, 8, 16, 30, 30].entries()) {
    await asked(n + 1);
    await pauseUntil(second + wait - 0.1);
    expect(clock.sleeping).toBe(1);
    second += wait;
    clock.advanceTo(after(second));
  }
});

test('a stream that was there is asked for again after 1 s', async () => {
  next = status(503);
  listen.start();
  await asked(1);
  await pauseUntil(1);
  next = events(':\n\n');
  await asked(2);
  await pauseUntil(2);
  await asked(3);
  await pauseUntil(3);
  await asked(4);
});

test('a gateway that cannot be reached is asked again', async () => {
  next = (req) => void req.socket.destroy();
  listen.start();
  await asked(1);
  await pauseUntil(1);
  await asked(2);
});

test('the stream goes on after the last event of the session, and not of one before it', async () => {
  next = events('id: é1\ndata:\n\n');
  listen.start();
  await asked(1);
  await pauseUntil(1);
  await asked(2);
  const place = streams[1]?.headers['last-event-id'];
  expect(Buffer.from(String(place), 'latin1').toString()).toBe('é1');
  session = 's2';
  await begin();
  next = events('id: e2\ndata:\n\n');
  await pauseUntil(2);
  await asked(3);
  expect(streams[2]?.headers).toMatchObject({ 'mcp-session-id': 's2' });
  expect(streams[2]?.headers).not.toHaveProperty('last-event-id');
  await pauseUntil(3);
  await asked(4);
  expect(streams[3]?.headers).toMatchObject({ 'last-event-id': 'e2' });
});

test('an event with an empty id is no place to go on from', async () => {
  next = events('id: e1\ndata:\n\nid:\ndata:\n\n');
  listen.start();
  await asked(1);
  await pauseUntil(1);
  await asked(2);
  expect(streams[1]?.headers).not.toHaveProperty('last-event-id');
});

test('where it is stopped, the stream ends and no other is asked for', async () => {
  const closed = Promise.withResolvers<void>();
  next = (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    res.once('close', () => closed.resolve());
  };
  listen.start();
  await asked(1);
  listen.stop();
  await closed.promise;
  await exchanges.send({ kind: 'request', id: 9, method: 'ping', params: undefined });
  expect([clock.sleeping, streams.length]).toEqual([0, 1]);
});
