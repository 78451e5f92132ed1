/** Callers of a gateway that take what others need: rows M50, M51 and M53. */
import { once } from 'node:events';
import { Agent } from 'node:https';
import type { TLSSocket } from 'node:tls';
import tls from 'node:tls';
import { secretOf } from '@chancery/agent/mcp/wire/claims.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MovableClock } from '../../kit/clock.ts';
import { type Answer, ask } from '../../kit/mcp/clients/ask.ts';
import { claim, holdCalls, openCall, serialOf } from '../../kit/mcp/clients/open-calls.ts';
import { type FakeServer, startFakeServer } from '../../kit/mcp/servers/server.ts';
import { id, startWorld, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

const GREEDY = id('agents/greedy');
const PLACES = 12;
const HOUR = 3600;
const PIECE = 64 * 1024;
const CALL = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } });
/** An error would be HTTP 200, too. */
const RESULT = { status: 200, json: { result: { content: [{ text: 'echo' }] } } };
const HEAD = (length: number): string =>
  'POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json, text/event-stream\r\n' +
  `Content-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;

let server: FakeServer;
let world: World;
let clock: MovableClock;
let calls: ReturnType<typeof holdCalls>;
const sockets: TLSSocket[] = [];

beforeEach(async () => {
  clock = new MovableClock();
  server = await startFakeServer();
  calls = holdCalls(server, 'slow');
  world = await startWorld(server.target, {
    clock,
    who: [TRIAGE, GREEDY],
    connections: { certified: PLACES, perHolder: PLACES },
    bodies: { perConnection: 2 * PIECE, perCaller: 4.5 * PIECE, total: 6.5 * PIECE },
  });
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await world.close();
  await server.close();
});

/** A connection on which this much of a request was sent. */
async function sent(svid: Svid, text: string): Promise<TLSSocket> {
  const own = { ...clientTls(svid, world.td.bundle.current()), checkServerIdentity: () => undefined };
  const socket = tls.connect({ host: '127.0.0.1', port: world.gateway.port, ...own });
  sockets.push(socket.on('error', () => {}).resume());
  await once(socket, 'secureConnect');
  socket.write(text);
  return socket;
}
const open = (): number => sockets.filter(({ closed }) => !closed).length;
const refusals = () =>
  world.events.flatMap(({ stage, code, detail, caller }) =>
    stage === 'refused' ? [{ code, detail, caller }] : [],
  );

describe('M50 one caller takes all places of a gateway', () => {
  /** Three certificates of one caller. */
  const certificates = (): Svid[] => Array.from({ length: 3 }, () => world.td.svid(GREEDY));
  const honest = async (): Promise<Answer[]> => {
    const svid = world.td.svid(TRIAGE);
    return Promise.all([1, 2, 3].map(() => ask(world, svid, { body: CALL })));
  };

  test('by requests whose bodies never end: others are served, and one record counts what was lost', async () => {
    for (const svid of certificates()) for (let n = 0; n < PLACES; n += 1) await sent(svid, `${HEAD(100)}{`);
    await expect.poll(open).toBe(PLACES);
    expect(await honest()).toMatchObject([RESULT, RESULT, RESULT]);
    await expect.poll(open).toBeLessThan(PLACES);
    expect(refusals().filter(({ code }) => code === 'rate')).toEqual([
      expect.objectContaining({
        code: 'rate',
        caller: GREEDY,
        detail: expect.stringMatching(
          /^certificate [0-9a-f]+ was silent while all 12 connections of \S+ were open$/,
        ),
      }),
    ]);
    clock.move(61);
    const counted = () => world.events.findLast(({ code }) => code === 'rate');
    await expect.poll(() => counted()?.count).toBeGreaterThanOrEqual(2 * PLACES);
    expect(counted()?.caller).toBe(GREEDY);
  });

  test('by calls that stay open: others are served, and the largest caller loses one call for each', async () => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'slow' } });
    for (const svid of certificates())
      for (let n = 0; n < PLACES / 3; n += 1) await sent(svid, HEAD(body.length) + body);
    await expect.poll(() => calls.open).toBe(PLACES);
    expect(await honest()).toMatchObject([RESULT, RESULT, RESULT]);
    await expect.poll(open).toBe(PLACES - 3);
    expect(refusals()[0]).toEqual({
      code: 'rate',
      caller: GREEDY,
      detail: `${GREEDY} has ${PLACES} of ${PLACES} connections, more than any other`,
    });
  });
});

describe('M51 bodies that are not whole', () => {
  const unfinished = (svid: Svid): Promise<TLSSocket> =>
    sent(svid, `${HEAD(PIECE + 1)}{${' '.repeat(PIECE - 1)}`);
  const rates = () =>
    refusals()
      .filter(({ code }) => code === 'rate')
      .map(({ caller, detail }) => `${caller}: ${detail}`);

  test('of one caller have a share, whatever connections and certificates they come by', async () => {
    for (let n = 0; n < 8; n += 1) await unfinished(world.td.svid(GREEDY));
    await expect.poll(open).toBe(4);
    expect(rates()).toEqual([`${GREEDY}: the unfinished messages of ${GREEDY} take too many bytes`]);
    expect(await ask(world, world.td.svid(TRIAGE), { body: CALL })).toMatchObject(RESULT);
  });

  test('of the caller that has most give way to those of others', async () => {
    const [greedy, triage] = [world.td.svid(GREEDY), world.td.svid(TRIAGE)];
    const held: TLSSocket[] = [];
    for (let n = 0; n < 4; n += 1) held.push(await unfinished(greedy));
    const slow = [await unfinished(triage), await unfinished(triage), await unfinished(triage)];
    await expect.poll(() => held.map(({ closed }) => closed)).toEqual([true, false, false, false]);
    expect(slow.map(({ closed }) => closed)).toEqual([false, false, false]);
    expect(rates()).toEqual([`${GREEDY}: an unfinished message gave way to another one`]);
  });

  test.each([
    ['the server has them', CALL, RESULT],
    ['they are denied', CALL.replace('tools/call', 'resources/list'), { json: { error: { code: -31403 } } }],
  ])('are counted no longer once %s, on one connection', async (_name, text, answer) => {
    const own = clientTls(world.td.svid(TRIAGE), world.td.bundle.current());
    const agent = new Agent({ keepAlive: true, maxSockets: 1, ...own, checkServerIdentity: () => undefined });
    const body = text.slice(0, -1) + ' '.repeat(PIECE) + text.slice(-1);
    for (let n = 0; n < 8; n += 1) expect(await ask(world, undefined, { agent, body })).toMatchObject(answer);
    agent.destroy();
  });
});

describe('M53 a request that is not whole when its connection is claimed', () => {
  const pair = (): { old: Svid; next: Svid } => {
    const [old, next] = [world.td.svid(TRIAGE, HOUR), world.td.svid(TRIAGE, 3 * HOUR)];
    world.links.set(serialOf(next), serialOf(old));
    return { old, next };
  };

  test('is no open call that could be claimed', async () => {
    const { old, next } = pair();
    const socket = await sent(old, HEAD(CALL.length) + CALL.slice(0, -1));
    expect(await claim(world, next, secretOf(socket))).toEqual([false]);
  });

  const slowly = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'slow' } });
  const opened = async (svid: Svid): Promise<TLSSocket> => {
    const socket = await sent(svid, HEAD(slowly.length) + slowly);
    await expect.poll(() => calls.open).toBe(1);
    return socket;
  };

  test('is not waited for: the connection ends with the call that was claimed', async () => {
    const { old, next } = pair();
    const socket = await opened(old);
    expect(await claim(world, next, secretOf(socket))).toEqual([true]);
    calls.answerAll();
    await expect.poll(() => socket.closed).toBe(true);
  });

  test('is answered as ever where the link comes after the call that was claimed too early', async () => {
    const { old, next } = pair();
    world.links.clear();
    const socket = await opened(old);
    expect(await claim(world, next, secretOf(socket))).toEqual([false]);
    calls.answerAll();
    await expect.poll(() => world.events.some(({ outcome }) => outcome === 'result')).toBe(true);
    world.links.set(serialOf(next), serialOf(old));
    world.tellLinks();
    socket.write(HEAD(CALL.length) + CALL);
    await expect.poll(() => server.seen.length).toBe(2);
  });

  test('is not decided under the old certificate', async () => {
    const { old, next } = pair();
    const { secret, socket, outcome } = await openCall(world, old, 'slow');
    await expect.poll(() => calls.open).toBe(1);
    socket.write(HEAD(CALL.length) + CALL.slice(0, -1));
    // Its head is read before the claim, which comes by another connection.
    await ask(world, next, { body: CALL });
    expect(await claim(world, next, secret)).toEqual([true]);
    const seen = server.seen.length;
    socket.write(CALL.slice(-1));
    await expect
      .poll(refusals)
      .toContainEqual(
        expect.objectContaining({ code: 'expired_peer', detail: expect.stringContaining('has claimed') }),
      );
    calls.answerAll();
    expect(await outcome).toBe(200);
    expect(server.seen).toHaveLength(seen);
  });
});
