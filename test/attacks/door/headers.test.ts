/** Request headers and open streams that cost the CA far more than their sender: rows I63 and M58. */
import { once } from 'node:events';
import http2, { type IncomingHttpHeaders } from 'node:http2';
import net from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { joinAs } from '../../kit/ca/join.ts';
import { floodedCa, WORKLOAD } from '../../kit/flood/flooded.ts';
import { statusOf } from '../../kit/flood/stranger.ts';

const { NGHTTP2_ENHANCE_YOUR_CALM: CALM } = http2.constants;
const GET_BUNDLE = '/chancery.v1.Trust/GetBundle';
const { ca, from } = floodedCa({});

const MIB = 1024 * 1024;
/** What the CA would keep of a stream whose one header comes 20 times: HPACK sends each repeat as one byte. */
const REPEATED = { 'x-a': Array.from({ length: 20 }, () => 'y'.repeat(2_900)) };
const LARGE = { 'x-a': 'y'.repeat(7_000) };

function open(session: http2.ClientHttp2Session, path: string, more: IncomingHttpHeaders) {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...more,
  });
  stream.on('error', () => {});
  return stream;
}

const isOpen = ({ pending, closed, destroyed }: http2.ClientHttp2Stream): boolean =>
  !pending && !closed && !destroyed;

test('I63 headers above 8 KiB end their stream before any handler or library has a copy', async () => {
  const { session } = from('127.0.0.13');
  const streams = Array.from({ length: 20 }, () => open(session, GET_BUNDLE, REPEATED));
  await Promise.all(streams.map((stream) => statusOf(stream)));
  for (const stream of streams) expect(stream.rstCode).toBe(CALM);
  await vi.waitFor(
    async () =>
      expect((await ca().refusals()).at(-1)).toMatchObject({ code: 'message_size', peer: '127.0.0.13' }),
    { timeout: 9_000 },
  );
  expect((await joinAs(ca())).id).toBe(WORKLOAD);
});

test('I63 a stranger that goes on with such headers loses its connection', async () => {
  const { session } = from('127.0.0.14');
  const farewell = new Promise<number>((resolve) => {
    session.once('goaway', resolve).once('close', () => resolve(-1));
  });
  for (let n = 0; n < 400; n += 1) open(session, GET_BUNDLE, REPEATED);
  expect(await farewell).toBe(CALM);
});

test('I63 a stranger has 32 open streams on a connection', async () => {
  const { session } = from('127.0.0.15');
  await once(session, 'connect');
  // Before it has heard of the limit.
  const streams = Array.from({ length: 40 }, () => open(session, GET_BUNDLE, {}));
  await vi.waitFor(() => expect(streams.filter(isOpen)).toHaveLength(32), { timeout: 9_000 });
  expect(session.remoteSettings.maxConcurrentStreams).toBe(32);
});

test('I63 open streams weigh what the CA keeps for them: an address has 8 MiB', async () => {
  const sessions = Array.from({ length: 16 }, () => from('127.0.0.16').session);
  const streams = sessions.flatMap((session) =>
    Array.from({ length: 32 }, () => open(session, GET_BUNDLE, LARGE)),
  );
  const most = Math.floor((8 * MIB) / (16_384 + 7_000));
  const ended = () => streams.filter((each) => each.closed);
  await vi.waitFor(() => expect(ended().length).toBeGreaterThanOrEqual(512 - most), { timeout: 9_000 });
  expect(streams.some(isOpen)).toBe(true);
  for (const { rstCode } of ended()) expect(rstCode).toBe(CALM);
  expect((await joinAs(ca())).id).toBe(WORKLOAD);
});

describe('M58 a user of the machine, on join.sock', () => {
  const sessions: http2.ClientHttp2Session[] = [];
  afterEach(() => {
    for (const session of sessions.splice(0)) session.destroy();
  });
  function local(): http2.ClientHttp2Session {
    const createConnection = () => net.connect(ca().joinSocket).on('error', () => {});
    const session = http2.connect('http://ca.example', { createConnection });
    session.on('error', () => {});
    sessions.push(session);
    return session;
  }

  test('that sends headers above 8 KiB gets no handler, and others join', async () => {
    const session = local();
    const streams = Array.from({ length: 20 }, () => open(session, GET_BUNDLE, REPEATED));
    await Promise.all(streams.map((stream) => statusOf(stream)));
    for (const stream of streams) expect(stream.rstCode).toBe(CALM);
    expect((await joinAs(ca())).id).toBe(WORKLOAD);
  });

  test('has as many open streams on all its connections as weigh 16 MiB', async () => {
    const streams = Array.from({ length: 16 }, local).flatMap((session) =>
      Array.from({ length: 80 }, () => open(session, GET_BUNDLE, {})),
    );
    const most = (16 * MIB) / 16_384;
    const ended = () => streams.filter((each) => each.closed);
    const least = streams.length - most;
    await vi.waitFor(() => expect(ended().length).toBeGreaterThanOrEqual(least), { timeout: 9_000 });
    for (const { rstCode } of ended()) expect(rstCode).toBe(CALM);
    expect(streams.some(isOpen)).toBe(true);
  });
});
