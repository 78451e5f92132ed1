/**
 * M16, M49 and M52 at connect's end: a certificate ends, the caller's or the gateway's, and no call ends with it while there
 * is a newer one that both sides know.
 */
import { type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { setImmediate } from 'node:timers/promises';
import { Dialler } from '@chancery/agent/mcp/connect/dial.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { LiveValue } from '@chancery/shared/ground/source.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MovableClock } from '../../kit/clock.ts';
import { serialOf } from '../../kit/mcp/clients/open-calls.ts';
import { type FakeServer, politely, type Say, startFakeServer } from '../../kit/mcp/servers/server.ts';
import {
  connectTo,
  id,
  live,
  revoked,
  startWorld,
  TOOLS,
  TRIAGE,
  type World,
} from '../../kit/mcp/world/world.ts';

const HOUR = 3600;
const CALL = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } });

let server: FakeServer;
let world: World;
let clock: MovableClock;
let connect: Awaited<ReturnType<typeof connectTo>>;
let svid: LiveValue<Svid>;
/** The gateway's certificates with which it confirmed an open call. */
let confirmed: Set<string>;
beforeEach(async () => {
  clock = new MovableClock();
  server = await startFakeServer();
  world = await startWorld(server.target, { clock });
  svid = live(world.td.svid(TRIAGE, 9 * HOUR));
  confirmed = new Set();
  const info = (fields: object): void => {
    if ('claimed' in fields && fields.claimed === 1 && 'serial' in fields)
      confirmed.add(String(fields.serial));
  };
  connect = await connectTo(world, { kind: 'tcp', port: 0 }, { clock, svid, log: { ...silentLog, info } });
});
afterEach(async () => {
  await connect.close();
  await world.close();
  await server.close();
});

const rotated = (seconds = 9 * HOUR) => world.gatewaySvid.publish(world.td.svid(TOOLS, seconds));

/** The caller has another certificate, of which the gateway has heard. */
function renewed(seconds: number): void {
  const next = world.td.svid(TRIAGE, seconds);
  world.links.set(serialOf(next), serialOf(svid.current()));
  svid.publish(next);
}

const claimed = () => world.events.filter(({ stage }) => stage === 'claimed');
/** The certificates of those who called, each once. */
const serials = () => [...new Set(world.events.flatMap(({ serial = '' }) => serial))];

/** The status, or 0 where the answer is not the tool's result. */
function call(): Promise<number> {
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  return new Promise((resolve, reject) => {
    const outgoing = request({
      port: connect.port,
      host: '127.0.0.1',
      path: '/mcp',
      method: 'POST',
      headers,
    });
    outgoing.on('response', (response) => resolve(resultOf(response)));
    outgoing.on('error', reject);
    outgoing.end(CALL);
  });
}

async function resultOf(response: IncomingMessage): Promise<number> {
  const body = await text(response).catch(() => 'cut');
  return body.includes('"result"') ? (response.statusCode ?? 0) : 0;
}

/** Resolves when the connection of an answer is idle again. */
async function whenIdle(response: IncomingMessage): Promise<number> {
  const status = await resultOf(response);
  await setImmediate();
  return status;
}

/** A tool that answers when it is told to. */
function slow(): { readonly asked: Promise<void>; answer(): void } {
  const asked = Promise.withResolvers<void>();
  let answer = (): void => {};
  const say: Say = (seen, res, req) => {
    answer = () => politely(seen, res, req);
    asked.resolve();
  };
  server.say = say;
  return { asked: asked.promise, answer: () => answer() };
}

describe('M16 a call that is under way when the gateway’s old certificate ends', () => {
  test('is on a newer connection where the gateway has rotated', async () => {
    expect(await call()).toBe(200);
    rotated();
    clock.move(0.9 * HOUR);
    const { asked, answer } = slow();
    const status = call();
    await asked;
    clock.move(0.2 * HOUR);
    answer();
    expect(await status).toBe(200);
  });

  test('takes no new one along: what was on the old connection stays there', async () => {
    const { asked, answer } = slow();
    const early = call();
    await asked;
    rotated();
    clock.move(0.9 * HOUR);
    answer();
    expect(await early).toBe(200);
    const late = slow();
    const status = call();
    await late.asked;
    clock.move(0.2 * HOUR);
    late.answer();
    expect(await status).toBe(200);
  });

  test('is cut where the gateway has no other', async () => {
    expect(await call()).toBe(200);
    clock.move(0.9 * HOUR);
    const { asked } = slow();
    const status = call();
    await asked;
    clock.move(0.2 * HOUR);
    expect(await status).not.toBe(200);
  });
});

describe('M16 a call of several lives', () => {
  test('goes on while both sides renew, and ends well', async () => {
    svid.publish(world.td.svid(TRIAGE, HOUR));
    const { asked, answer } = slow();
    const status = call();
    await asked;
    for (const hours of [2, 3, 4]) {
      renewed(hours * HOUR);
      rotated(hours * HOUR);
      await expect.poll(() => claimed().length).toBe(hours - 1);
      clock.move(0.85 * HOUR);
      // The gateway's certificate is due, too, and the gateway has another.
      await expect.poll(() => confirmed.has(serialOf(world.gatewaySvid.current()))).toBe(true);
      clock.move(0.15 * HOUR);
    }
    answer();
    expect(await status).toBe(200);
  });

  test('is not claimed by requests that come after the renewal: they take a new connection', async () => {
    expect(await call()).toBe(200);
    renewed(9 * HOUR);
    expect(await call()).toBe(200);
    expect(serials()).toHaveLength(2);
    expect(claimed()).toEqual([]);
  });
});

/** connect's way to the gateway, and a call by it. */
function dialled() {
  const { policy, revocations, td } = world;
  const sources = { svid, bundle: td.bundle, policy, revocations, clock, log: silentLog };
  const dialler = new Dialler({ server: 'everything', ...sources });
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const ask = () =>
    new Promise<number>((resolve, reject) => {
      dialler.send(
        { method: 'POST', headers, body: CALL },
        { onResponse: (response) => whenIdle(response).then(resolve), onError: reject },
      );
    });
  return { dialler, ask };
}

test.each([
  ['our certificate', () => svid.publish(world.td.svid(TRIAGE, 9 * HOUR))],
  ['the bundle', () => world.td.bundle.publish({ ...world.td.bundle.current(), sequence: 2n })],
])('M16 a call that waits for its connection while %s changes takes a newer one', async (_, change) => {
  const { dialler, ask } = dialled();
  const answered = [ask(), ask()];
  change();
  expect(await Promise.all(answered)).toEqual([200, 200]);
  dialler.close();
});

test('M52 what is for the gateway of one identity goes to no other', async () => {
  const { dialler } = dialled();
  const identity = id('tools/before');
  const posted = { method: 'POST', headers: {}, body: '{}', path: '/chancery/claims', identity } as const;
  const failed = new Promise((resolve, reject) => {
    dialler.send(posted, { onResponse: reject, onError: resolve });
  });
  expect(await failed).toMatchObject({ code: 'wrong_peer', message: `the gateway is ${TOOLS} now` });
  expect(world.events).toEqual([]);
  dialler.close();
});

test('M16 a call takes no connection that was closed a moment ago', async () => {
  const { dialler, ask } = dialled();
  const answers: (() => void)[] = [];
  server.say = (seen, res, req) => void answers.push(() => politely(seen, res, req));
  const asked = async (count: number) => {
    const status = ask();
    await expect.poll(() => answers.length).toBe(count);
    return status;
  };
  clock.move(0.85 * HOUR);
  const first = asked(1);
  await expect.poll(() => answers.length).toBe(1);
  clock.move(0.05 * HOUR);
  const second = asked(2);
  await expect.poll(() => answers.length).toBe(2);
  // Both are idle then, the one that is due first behind the other.
  answers[1]?.();
  expect(await second).toBe(200);
  answers[0]?.();
  expect(await first).toBe(200);
  server.say = politely;
  clock.move(0.03 * HOUR);
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  expect(await ask()).toBe(200);
  dialler.close();
});

describe('M49 a call that the gateway with the newer certificate does not confirm', () => {
  test('is cut with the old certificate: it is another gateway', async () => {
    const { asked } = slow();
    const status = call();
    await asked;
    const other = await startWorld(server.target, { clock, td: world.td });
    other.gatewaySvid.publish(world.td.svid(TOOLS, 9 * HOUR));
    world.policy.publish(other.policy.current());
    clock.move(0.85 * HOUR);
    await expect.poll(() => other.events.some(({ code }) => code === 'mcp_call')).toBe(true);
    clock.move(0.2 * HOUR);
    expect(await status).not.toBe(200);
    await other.close();
  });

  test.each([0, 1])('is cut by a revocation of either of the gateway’s certificates (%i)', async (which) => {
    const serials = [serialOf(world.gatewaySvid.current())];
    const { asked } = slow();
    const status = call();
    await asked;
    rotated();
    clock.move(0.85 * HOUR);
    await expect.poll(() => confirmed.has(serialOf(world.gatewaySvid.current()))).toBe(true);
    clock.move(0.05 * HOUR);
    serials.push(serialOf(world.gatewaySvid.current()));
    world.revocations.publish(revoked('serial', serials[which] ?? ''));
    expect(await status).not.toBe(200);
  });
});

test('M52 the secret of a call is claimed at gateways of its own identity only', async () => {
  const OTHER = id('tools/other');
  const { asked, answer } = slow();
  const status = call();
  await asked;
  const other = await startWorld(server.target, { clock, td: world.td });
  other.gatewaySvid.publish(world.td.svid(OTHER, 9 * HOUR));
  const before = world.policy.current();
  const [entry] = [...before.servers.values()];
  const address = `127.0.0.1:${other.gateway.port}`;
  const moved = { ...entry, identity: OTHER, address } as typeof entry & object;
  world.policy.publish({ ...before, servers: new Map([['everything', moved]]) });
  const second = slow();
  const late = call();
  await second.asked;
  const old = serialOf(svid.current());
  renewed(12 * HOUR);
  other.links.set(serialOf(svid.current()), old);
  clock.move(1);
  // One with the secret of each call of its own, and none of another's.
  await expect.poll(() => other.events.some(({ stage }) => stage === 'claimed')).toBe(true);
  expect(other.events.filter(({ stage }) => stage === 'refused')).toEqual([]);
  expect(claimed()).toEqual([]);
  world.policy.publish(before);
  await expect
    .poll(() => {
      clock.move(1);
      return claimed().length;
    })
    .toBe(1);
  second.answer();
  answer();
  expect([await status, await late]).toEqual([200, 200]);
  await other.close();
});
