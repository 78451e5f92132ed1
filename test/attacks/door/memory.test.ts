/** Streams that hold memory or work without an end: rows I41, I42, I44, I45 and I74. */
import http2 from 'node:http2';
import * as grpc from '@grpc/grpc-js';
import { expect, test, vi } from 'vitest';
import { joinAs } from '../../kit/ca/join.ts';
import { floodedCa, WORKLOAD } from '../../kit/flood/flooded.ts';
import { framed, type Stranger, statusOf } from '../../kit/flood/stranger.ts';

const CALM = http2.constants.NGHTTP2_ENHANCE_YOUR_CALM;
const MIB = 1024 * 1024;
const ATTEST = '/chancery.v1.Attestation/Attest';
const GET_BUNDLE = '/chancery.v1.Trust/GetBundle';
const { ca, from } = floodedCa({});

test('I41 a stranger promises 2 MiB where a few bytes are expected: each call ends at its first bytes', async () => {
  const peer = from('127.0.0.8');
  const calls = Array.from({ length: 32 }, () =>
    peer.call(GET_BUNDLE, framed(new Uint8Array(100), 2 * MIB - 1)),
  );
  await Promise.all(calls.map((call) => statusOf(call)));
  for (const call of calls) expect(call.rstCode).toBe(CALM);
  expect((await ca().refusals()).at(-1)).toMatchObject({ code: 'message_size', peer: '127.0.0.8' });
});

test('I41 a stranger that is refused at the head of 3 MiB and goes on sending ends nothing else', async () => {
  const peer = from('127.0.0.12');
  const call = peer.call(GET_BUNDLE, framed(new Uint8Array(100), 3 * MIB));
  const ended = statusOf(call);
  call.on('response', () => {
    for (let n = 0; n < 20; n += 1) call.write(new Uint8Array(10_000));
  });
  expect(await ended).toBe(8);
  await new Promise<void>((resolve) => peer.session.ping(() => resolve()));
  expect((await joinAs(ca())).id).toBe(WORKLOAD);
});

test('I42 a stranger opens many exchanges and ends none of their messages: 4 MiB of a connection are kept', async () => {
  // No message ends by its deadline.
  ca().clock.hold();
  try {
    const peer = from('127.0.0.9');
    let kept = 40;
    for (let n = 0; n < 40; n += 1)
      void statusOf(peer.call(ATTEST, framed(new Uint8Array(MIB), MIB + 1))).then(() => {
        kept -= 1;
      });
    await vi.waitFor(() => expect(kept).toBeLessThanOrEqual(4), { timeout: 120_000 });
    expect((await joinAs(ca())).id).toBe(WORKLOAD);
  } finally {
    ca().clock.release();
  }
});

test('I44 a unary call whose message never comes ends by its deadline', { timeout: 60_000 }, async () => {
  const peer = from('127.0.0.10');
  const calls = [undefined, framed(new Uint8Array(5), 10), framed(new Uint8Array())].map((body) =>
    peer.call(GET_BUNDLE, body),
  );
  await Promise.all(calls.map((call) => statusOf(call)));
  for (const call of calls) expect(call.rstCode).toBe(CALM);
  // The messages of the test before may end at the same time.
  const refusals = await ca().refusals();
  expect(refusals).toContainEqual(expect.objectContaining({ code: 'deadline', peer: '127.0.0.10' }));
});

test.each([
  ['calls', { 'content-type': 'application/grpc' }],
  ['requests that are no calls', {}],
])('I45 %s that are opened only to be reset end their connection', async (_, headers) => {
  const { session } = from('127.0.0.11');
  const farewell = new Promise<number>((resolve) => {
    session.once('goaway', resolve).once('close', () => resolve(-1));
  });
  // Small parts, each read before the next one: Node itself ends what resets 1,000 streams at once.
  const more = (): void => {
    if (session.destroyed || session.closed) return;
    for (let n = 0; n < 50; n += 1) {
      const stream = session.request({ ':method': 'POST', ':path': ATTEST, ...headers });
      stream.on('error', () => {});
      stream.close(http2.constants.NGHTTP2_CANCEL);
    }
    session.ping(more);
  };
  session.once('connect', more);
  expect(await farewell).toBe(CALM);
});

test('I74 who was sent away for its resets and comes back at once waits; its neighbours wait and are served', async () => {
  const { session } = from('127.0.0.13');
  const gone = new Promise((resolve) => session.once('close', resolve));
  const more = (): void => {
    if (session.destroyed || session.closed) return;
    for (let n = 0; n < 50; n += 1) {
      const stream = session.request({ ':method': 'POST', ':path': ATTEST });
      stream.on('error', () => {});
      stream.close(http2.constants.NGHTTP2_CANCEL);
    }
    session.ping(more);
  };
  session.once('connect', more);
  await gone;
  ca().clock.hold();
  try {
    const [waiting, other] = [from('127.0.0.13'), from('127.0.0.14')];
    const ask = (peer: Stranger) => statusOf(peer.call(GET_BUNDLE, framed(new Uint8Array())).end());
    const late = ask(waiting);
    const answered = vi.fn();
    void late.then(answered);
    // Its handshake is done, and others are served: it waits.
    await vi.waitFor(() => expect(waiting.session.connecting).toBe(false), { timeout: 60_000 });
    expect([await ask(other), await ask(other)]).toEqual([grpc.status.OK, grpc.status.OK]);
    expect(answered).not.toHaveBeenCalled();
    ca().clock.move(2);
    expect(await late).toBe(grpc.status.OK);
  } finally {
    ca().clock.release();
  }
});
