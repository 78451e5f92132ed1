import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import type { JsonObject } from '@chancery/shared/ground/json.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { Message, Notification, Request } from '@chancery/shared/mcp/message.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { after, NOW } from '../../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import {
  afterBody,
  type PlayedGateway,
  playGateway,
} from '../../../../../test/kit/mcp/world/played-gateway.ts';
import type { Dialler } from '../dial.ts';
import { Exchanges } from './exchange.ts';

test('an answer is not fetched while its client has others to read', async () => {
  const body = new PassThrough();
  body.end('{"jsonrpc":"2.0","id":1,"result":{}}');
  const headers = { 'content-type': 'application/json' };
  const response = Object.assign(body, { statusCode: 200, headers, complete: true });
  const written: Message[] = [];
  let [full, resume] = [true, (): void => {}];
  const exchanges = new Exchanges({
    dialler: {
      send: (_posted, { onResponse }) => {
        onResponse(response as unknown as IncomingMessage);
        return () => {};
      },
    } as Dialler,
    clock: systemClock,
    log: silentLog,
    write: (message) => written.push(message) > 0,
    onDrain: (listener) => {
      resume = listener;
    },
    full: () => full,
  });
  const params = { name: 'large' };
  const sent = exchanges.send({ kind: 'request', id: 1, method: 'tools/call', params });
  await setImmediate();
  expect([body.readableFlowing, written]).toEqual([null, []]);
  full = false;
  resume();
  await sent;
  expect(written).toEqual([expect.objectContaining({ id: 1, result: {} })]);
});

interface Arrived {
  readonly method: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly json: { readonly id?: number; readonly method?: string; readonly params?: JsonObject } | undefined;
}

let gateway: PlayedGateway;
let clock: ManualClock;
let exchanges: Exchanges;
let written: Message[];
let arrived: Arrived[];
/** Instead of a polite answer, where it gives one. */
let odd: (asked: Arrived, res: ServerResponse) => boolean;
/** Of the sessions that were begun. */
let sessions: number;
let version: string;
beforeEach(async () => {
  [written, arrived, sessions, version] = [[], [], 0, '2025-11-25'];
  odd = () => false;
  clock = new ManualClock(NOW);
  gateway = await playGateway();
  gateway.play = answer;
  exchanges = new Exchanges({
    dialler: gateway.dial(),
    clock,
    log: silentLog,
    write: (message) => written.push(message) > 0,
    onDrain: () => {},
    full: () => false,
  });
});
afterEach(() => gateway.close());

const answer: RequestListener = afterBody((body, { method, headers }, res) => {
  const asked = { method, headers, json: body === '' ? undefined : JSON.parse(body) };
  arrived.push(asked);
  if (odd(asked, res)) return;
  const { id, method: rpc } = asked.json ?? {};
  if (id === undefined) return void res.writeHead(202).end();
  if (rpc === 'initialize') res.setHeader('mcp-session-id', `s${++sessions}`);
  say(res, { id, result: rpc === 'initialize' ? { protocolVersion: version } : { method: rpc } });
});
function say(res: ServerResponse, message: object, status = 200): true {
  res.writeHead(status, { 'content-type': 'application/json' });
  res.end(JSON.stringify({ jsonrpc: '2.0', ...message }));
  return true;
}
function stream(res: ServerResponse, text: string): true {
  res.writeHead(200, { 'content-type': 'text/event-stream' }).end(text);
  return true;
}
const data = (message: object): string => `data: ${JSON.stringify({ jsonrpc: '2.0', ...message })}\n\n`;

const request = (id: number | string, method: string, params: JsonObject = {}): Request => ({
  kind: 'request',
  id,
  method,
  params,
});
const call = (id: number, params: JsonObject = { name: 'echo' }): Request =>
  request(id, 'tools/call', params);
const MODERN = { _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' } };
const notification = (method: string, params?: JsonObject): Notification => ({
  kind: 'notification',
  method,
  params,
});
const cancelled = (requestId: number): Notification => notification('notifications/cancelled', { requestId });
async function begin(): Promise<void> {
  await exchanges.send(request(0, 'initialize'));
  written.length = 0;
  arrived.length = 0;
}
/** Once for each method, until it is said. */
const once = (method: string, how: (res: ServerResponse, id: number) => boolean): void => {
  let done = false;
  odd = ({ json }, res) => {
    if (done || json?.method !== method) return false;
    done = true;
    return how(res, json.id ?? 0);
  };
};
const methods = (): unknown[] => arrived.map(({ method, json }) => json?.method ?? method);
const failure = (says: RegExp) => ({ code: -31502, message: expect.stringMatching(says) });

describe('the session that initialize begins', () => {
  test('is named by what comes after it', async () => {
    expect([exchanges.session, exchanges.sessionHeaders()]).toEqual([undefined, {}]);
    await exchanges.send(request(0, 'initialize'));
    expect(written).toMatchObject([{ id: 0, result: { protocolVersion: '2025-11-25' } }]);
    expect(exchanges.session).toBe('s1');
    await exchanges.send(notification('notifications/initialized'));
    const headers = { 'mcp-session-id': 's1', 'mcp-protocol-version': '2025-11-25' };
    expect(arrived.at(-1)?.headers).toMatchObject(headers);
    expect(arrived[0]?.headers).not.toHaveProperty('mcp-session-id');
  });

  test('is ended at the server, once', async () => {
    await begin();
    await exchanges.end();
    await exchanges.end();
    expect(methods()).toEqual(['DELETE']);
    expect(arrived[0]?.headers).toMatchObject({ 'mcp-session-id': 's1' });
    expect(exchanges.session).toBeUndefined();
  });

  test('has no end to be told of where the server has no sessions', async () => {
    once('initialize', (res, id) => say(res, { id, result: {} }));
    await begin();
    await exchanges.end();
    expect(arrived).toEqual([]);
  });

  test('ends though its server does not answer', async () => {
    await begin();
    odd = (_asked, res) => Boolean(res.destroy());
    await exchanges.end();
  });
});

describe('a session that is lost', () => {
  const LOST = { error: { code: -32001, message: 'session not found' } };
  const lose = (method: string): void => once(method, (res) => say(res, LOST, 404));

  test('is begun again for a request that is not a call, and its client is notified', async () => {
    await begin();
    lose('tools/list');
    await exchanges.send(request(1, 'tools/list'));
    expect(written).toMatchObject([
      { method: 'notifications/tools/list_changed' },
      { id: 1, result: { method: 'tools/list' } },
    ]);
    expect(methods()).toEqual(['tools/list', 'initialize', 'notifications/initialized', 'tools/list']);
    expect(arrived.map(({ headers }) => headers['mcp-session-id'])).toEqual(['s1', undefined, 's2', 's2']);
  });

  test('is begun again for the first call, but no call after another is made again', async () => {
    await begin();
    lose('tools/call');
    await exchanges.send(call(1));
    expect(written.at(-1)).toMatchObject({ id: 1, result: {} });
    lose('tools/call');
    await exchanges.send(call(2));
    expect(written.at(-1)).toMatchObject({
      id: 2,
      error: failure(/lost the session.*this call was not made/),
    });
    expect(exchanges.session).toBe('s3');
  });

  test('is not begun again for an error of the request itself', async () => {
    await begin();
    once('tools/call', (res, id) => say(res, { id, error: { code: -32602, message: 'no such tool' } }, 404));
    await exchanges.send(call(1));
    expect(written).toMatchObject([{ id: 1, error: { code: -32602, message: 'no such tool' } }]);
    expect(methods()).toEqual(['tools/call']);
  });

  test('is not begun again without a session', async () => {
    lose('tools/list');
    await exchanges.send(request(1, 'tools/list'));
    expect(written).toMatchObject([{ id: 1, error: { code: -32001 } }]);
  });

  test('is begun again once for requests that find it lost together', async () => {
    await begin();
    odd = ({ headers }, res) => headers['mcp-session-id'] === 's1' && say(res, LOST, 404);
    await Promise.all([exchanges.send(request(1, 'tools/list')), exchanges.send(request(2, 'ping'))]);
    expect(sessions).toBe(2);
    expect(written).toHaveLength(3);
  });

  test('that is lost again fails the request', async () => {
    await begin();
    odd = ({ json }, res) => json?.method === 'tools/list' && say(res, LOST, 404);
    await exchanges.send(request(1, 'tools/list'));
    expect(written.at(-1)).toMatchObject({ id: 1, error: failure(/does not keep its sessions$/) });
  });

  test.each<[string, () => void, RegExp]>([
    ['speaks another version', () => (version = '2025-06-18'), /begun again: it speaks another version now$/],
    [
      'refuses',
      () => once('initialize', (res, id) => say(res, { id, error: { code: -32603, message: 'full' } })),
      /begun again: full$/,
    ],
  ])('by a server that %s cannot be begun again', async (_name, change, says) => {
    await begin();
    change();
    const before = odd;
    odd = (asked, res) => before(asked, res) || (asked.json?.method === 'tools/list' && say(res, LOST, 404));
    await exchanges.send(request(1, 'tools/list'));
    expect(written).toMatchObject([{ id: 1, error: failure(says) }]);
    expect(exchanges.session).toBe('s1');
  });
});

describe('an answer', () => {
  test.each<[string, (res: ServerResponse, id: number) => boolean, RegExp]>([
    ['to another request', (res) => say(res, { id: 99, result: {} }), /^the answer is to another request$/],
    ['that is a call', (res, id) => say(res, { id, method: 'ping' }), /^no answer in HTTP 200$/],
    ['without a message', (res) => Boolean(res.writeHead(503).end('busy')), /^no answer in HTTP 503$/],
    ['in no answer of a stream', (res) => stream(res, data({ method: 'x' })), /^the stream ended before/],
  ])('%s fails the request', async (_name, how, says) => {
    once('ping', how);
    await exchanges.send(request(1, 'ping'));
    expect(written.at(-1)).toMatchObject({ id: 1, error: failure(says) });
  });

  test('that is an error without an id is about the request that was posted', async () => {
    once('ping', (res) => say(res, { id: null, error: { code: -32600, message: 'odd' } }, 400));
    await exchanges.send(request(1, 'ping'));
    expect(written).toMatchObject([{ id: 1, error: { code: -32600, message: 'odd' } }]);
  });

  test('in a stream begins a session, too', async () => {
    once('initialize', (res, id) => {
      res.setHeader('mcp-session-id', 'streamed');
      return stream(res, data({ id, result: { protocolVersion: '2025-11-25' } }));
    });
    await exchanges.send(request(0, 'initialize'));
    expect([exchanges.session, written.length]).toEqual(['streamed', 1]);
  });
});

describe('a request that its client cancels', () => {
  test('gets no answer, and in a session its server is notified', async () => {
    await begin();
    const closed = Promise.withResolvers<void>();
    once('tools/call', (res) => Boolean(res.once('close', () => closed.resolve())));
    const waiting = exchanges.send(call(1));
    await expect.poll(() => arrived.length).toBe(1);
    await exchanges.send(cancelled(1));
    await Promise.all([waiting, closed.promise]);
    expect([methods(), written]).toEqual([['tools/call', 'notifications/cancelled'], []]);
  });

  test('ends by closing its answer in the modern era', async () => {
    const closed = Promise.withResolvers<void>();
    once('tools/call', (res) => Boolean(res.once('close', () => closed.resolve())));
    const waiting = exchanges.send(call(1, { name: 'echo', ...MODERN }));
    await expect.poll(() => arrived.length).toBe(1);
    await exchanges.send(cancelled(1));
    await Promise.all([waiting, closed.promise]);
    expect([methods(), written]).toEqual([['tools/call'], []]);
  });

  test('of an id that is not open is sent to the server', async () => {
    await exchanges.send(cancelled(9));
    expect(methods()).toEqual(['notifications/cancelled']);
  });
});

test('a modern client needs no version in its notifications', async () => {
  await exchanges.send(call(1, { name: 'echo', ...MODERN }));
  expect(arrived.at(-1)?.headers).toMatchObject({
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/call',
    'mcp-name': 'echo',
  });
  await exchanges.send(notification('notifications/x'));
  expect(arrived.at(-1)?.headers).toMatchObject({ 'mcp-protocol-version': '2026-07-28' });
});

test('open requests are given up when their client leaves', async () => {
  await begin();
  const closed = Promise.withResolvers<void>();
  once('tools/call', (res) => Boolean(res.once('close', () => closed.resolve())));
  const waiting = exchanges.send(call(1));
  await expect.poll(() => arrived.length).toBe(1);
  await exchanges.end();
  await Promise.all([waiting, closed.promise]);
  expect(written).toEqual([]);
});

describe('a stream that ends after an event with an id', () => {
  let parts: ((res: ServerResponse) => boolean)[];
  beforeEach(async () => {
    await begin();
    parts = [];
    odd = ({ method, json }, res) =>
      (method === 'GET' || json?.method === 'tools/call') && (parts.shift()?.(res) ?? say(res, {}, 500));
  });
  /** Lets the pause before each resumption pass, until the request is answered. */
  async function finish(waiting: Promise<void>, seconds = 1): Promise<void> {
    let done = false;
    const over = waiting.then(() => {
      done = true;
    });
    for (let second = 0; !done; ) {
      await expect.poll(() => done || clock.sleeping > 0).toBe(true);
      second += seconds;
      if (!done) clock.advanceTo(after(second));
      await setImmediate();
    }
    await over;
  }
  const place = (id: string, more = ''): ((res: ServerResponse) => boolean) => {
    return (res) => stream(res, `id: ${id}\n${more}data:\n\n`);
  };
  const done = (res: ServerResponse): boolean => stream(res, data({ id: 1, result: { at: 'last' } }));

  test('is resumed after its last event', async () => {
    parts = [place('é1'), place('e2'), done];
    await finish(exchanges.send(call(1)));
    expect(written).toMatchObject([{ id: 1, result: { at: 'last' } }]);
    const resumed = arrived.filter(({ method }) => method === 'GET').map(({ headers }) => headers);
    const places = resumed.map(({ 'last-event-id': id }) => Buffer.from(String(id), 'latin1').toString());
    expect(places).toEqual(['é1', 'e2']);
    expect(resumed[0]).toMatchObject({ accept: 'text/event-stream', 'mcp-session-id': 's1' });
  });

  test('is resumed when its server says, and after a minute at most', async () => {
    parts = [place('e1', 'retry: 5000\n'), place('e2', 'retry: 900000\n'), done];
    const waiting = exchanges.send(call(1));
    for (const second of [5, 65]) {
      await expect.poll(() => clock.sleeping).toBe(1);
      clock.advanceTo(after(second - 0.1));
      expect(clock.sleeping).toBe(1);
      clock.advanceTo(after(second));
    }
    await waiting;
    expect(written).toMatchObject([{ id: 1, result: { at: 'last' } }]);
  });

  test('is asked for again where its server is away for a moment', async () => {
    parts = [place('e1'), (res) => say(res, {}, 503), done];
    await finish(exchanges.send(call(1)));
    expect(written).toMatchObject([{ id: 1, result: { at: 'last' } }]);
  });

  test.each<[string, (res: ServerResponse) => boolean, RegExp]>([
    [
      'does not know it',
      (res) => say(res, {}, 404),
      /cannot be fetched: resuming its stream gave HTTP 404; the MCP server may have done/,
    ],
    [
      'answers without a stream',
      (res) => say(res, {}),
      /cannot be fetched: .* gave HTTP 200; the MCP server may have done/,
    ],
  ])('fails the call where its server %s', async (_name, how, says) => {
    parts = [place('e1'), how];
    await finish(exchanges.send(call(1)));
    expect(written).toMatchObject([{ id: 1, error: failure(says) }]);
  });

  test('fails the call after five resumptions without anything new', async () => {
    parts = Array.from({ length: 20 }, () => place('e1'));
    await finish(exchanges.send(call(1)));
    expect(written).toMatchObject([
      { id: 1, error: failure(/^the stream ended before the answer; the MCP server may have done/) },
    ]);
    expect(methods().filter((method) => method === 'GET')).toHaveLength(5);
  });

  test('is resumed for as long as something new comes', async () => {
    parts = Array.from({ length: 9 }, (_, n) => place(`e${n}`));
    parts.push(done);
    await finish(exchanges.send(call(1)));
    expect(written).toMatchObject([{ id: 1, result: { at: 'last' } }]);
  });

  test('is not resumed in the modern era, and not after an empty id', async () => {
    for (const [params, id] of [
      [{ name: 'echo', ...MODERN }, 'e1'] as const,
      [{ name: 'echo' }, ''] as const,
    ]) {
      parts = [place(id), done];
      await exchanges.send(call(1, params));
      expect(written.splice(0)).toMatchObject([{ id: 1, error: failure(/ended before the answer/) }]);
    }
  });
});
