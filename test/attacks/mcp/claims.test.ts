/** Attacks by way of calls that outlive a certificate: rows M35 to M39, M47, M48, M54, M90. M49 is in mcp-rotation. */
import { randomBytes } from 'node:crypto';
import { Agent } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { secretOf, writeClaims } from '@chancery/agent/mcp/wire/claims.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { type RevocationSet, revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { MovableClock } from '../../kit/clock.ts';
import { ask } from '../../kit/mcp/clients/ask.ts';
import { claim, holdCalls, openCall, serialOf } from '../../kit/mcp/clients/open-calls.ts';
import { type FakeServer, startFakeServer } from '../../kit/mcp/servers/server.ts';
import {
  id,
  policyFor,
  revoked,
  startWorld,
  TRIAGE,
  TrustDomainInMemory,
  type World,
  type WorldOptions,
} from '../../kit/mcp/world/world.ts';

const HOUR = 3600;
const OTHER = id('agents/other');
let server: FakeServer;
let world: World;
let clock: MovableClock;
let calls: ReturnType<typeof holdCalls>;
/** Of one caller: the certificate that is about to end, and the one that took its place. */
let old: Svid;
let next: Svid;

async function start(options: WorldOptions = {}): Promise<void> {
  clock = new MovableClock();
  server = await startFakeServer();
  calls = holdCalls(server);
  world = await startWorld(server.target, { clock, who: [TRIAGE, OTHER], ...options });
  old = world.td.svid(TRIAGE, HOUR);
  next = world.td.svid(TRIAGE, 3 * HOUR);
  world.links.set(serialOf(next), serialOf(old));
}
async function stop(): Promise<void> {
  await world.close();
  await server.close();
}
beforeEach(() => start());
afterEach(stop);

async function opened(svid = old, tool?: string) {
  const before = calls.open;
  const call = await openCall(world, svid, tool);
  await expect.poll(() => calls.open).toBe(before + 1);
  return call;
}
const strangeBundle = () => {
  const { bundle } = new TrustDomainInMemory();
  return { ...bundle.current(), sequence: 2n };
};
const refusals = () =>
  world.events.flatMap(({ stage, code, detail }) => (stage === 'refused' ? [`${code}: ${detail}`] : []));

/** How calls ended. */
const ends = () =>
  world.events.flatMap(({ stage, outcome, detail }) =>
    stage === 'answered' ? [`${outcome}: ${detail}`] : [],
  );

describe('M16 an open call', () => {
  test('goes on past its certificate where its caller claims it with the next one, and is on record', async () => {
    const { secret, outcome } = await opened();
    expect(await claim(world, next, secret)).toEqual([true]);
    clock.move(2 * HOUR);
    calls.answerAll();
    expect(await outcome).toBe(200);
    const [decided, claimed, answered] = world.events.filter(({ serial }) => serial !== undefined);
    expect(claimed).toMatchObject({
      stage: 'claimed',
      id: decided?.id,
      serial: serialOf(next),
      caller: TRIAGE,
    });
    expect(answered).toMatchObject({ stage: 'answered', id: decided?.id, outcome: 'result' });
  });

  test('ends with the next one, unless it is claimed again', async () => {
    const last = world.td.svid(TRIAGE, 9 * HOUR);
    world.links.set(serialOf(last), serialOf(next));
    const [first, second] = [await opened(), await opened()];
    expect(await claim(world, next, first.secret, second.secret)).toEqual([true, true]);
    expect(await claim(world, last, second.secret)).toEqual([true]);
    clock.move(3.1 * HOUR);
    expect(await first.outcome).toBe('cut');
    await expect.poll(ends).toEqual([`unknown: the certificate of ${TRIAGE} has expired`]);
    calls.answerAll();
    expect(await second.outcome).toBe(200);
  });

  test('gives its connection to no other request', async () => {
    const { secret, socket, outcome } = await opened();
    await claim(world, next, secret);
    socket.write('POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}');
    calls.answerAll();
    expect(await outcome).toBe(200);
    await expect
      .poll(refusals)
      .toContainEqual(expect.stringMatching(/^expired_peer: .* has claimed the calls/));
    expect(server.seen).toHaveLength(1);
  });
});

test('M35 a thief with a stolen key gains no minute by the renewal of its owner', async () => {
  const [victim, thief] = [await opened(), await opened()];
  expect(await claim(world, next, victim.secret)).toEqual([true]);
  // The thief knows the secret of its own call, and has no certificate that replaced the stolen one.
  expect(await claim(world, old, thief.secret)).toEqual([true]);
  clock.move(1.1 * HOUR);
  expect(await thief.outcome).toBe('cut');
  calls.answerAll();
  expect(await victim.outcome).toBe(200);
});

test('M35 a certificate of the same caller that the CA has not linked claims nothing', async () => {
  const { secret, outcome } = await opened();
  expect(await claim(world, world.td.svid(TRIAGE, 9 * HOUR), secret)).toEqual([false]);
  expect(refusals()).toContainEqual(expect.stringMatching(/^mcp_call: the CA has not said that certificate/));
  clock.move(1.1 * HOUR);
  expect(await outcome).toBe('cut');
});

describe('M54 a claim that comes before the CA has linked its certificate', () => {
  /** Refused at first; the connection of the claim is gone by then. */
  async function early() {
    world.links.clear();
    const call = await opened();
    expect(await claim(world, next, call.secret)).toEqual([false]);
    return call;
  }
  const link = (): void => {
    world.links.set(serialOf(next), serialOf(old));
    world.tellLinks();
  };

  test('is judged again when the link comes, and is on record', async () => {
    const { outcome } = await early();
    link();
    const claimed = world.events.filter(({ stage }) => stage === 'claimed');
    expect(claimed).toMatchObject([{ serial: serialOf(next), caller: TRIAGE }]);
    clock.move(1.1 * HOUR);
    calls.answerAll();
    expect(await outcome).toBe(200);
  });

  test('is not kept by a link that comes after the end of the old certificate', async () => {
    const { outcome } = await early();
    clock.move(1.1 * HOUR);
    expect(await outcome).toBe('cut');
    link();
    expect(world.events.filter(({ stage }) => stage === 'claimed')).toEqual([]);
  });

  test.each([
    ['is revoked by then', () => world.revocations.publish(revoked('serial', serialOf(next)))],
    [
      'may not call the tool any more',
      () => world.policy.publish(policyFor(world.gateway.port, { allow: ['get-sum'] }, 9n, [TRIAGE])),
    ],
    ['has another authority than the bundle', () => world.td.bundle.publish(strangeBundle())],
  ])('is not kept where its caller %s', async (_, change) => {
    const { outcome } = await early();
    change();
    link();
    expect(world.events.filter(({ stage }) => stage === 'claimed')).toEqual([]);
    clock.move(1.1 * HOUR);
    expect(await outcome).toBe('cut');
  });

  test('is forgotten with its connection', async () => {
    const { outcome } = await early();
    clock.move(1.1 * HOUR);
    expect(await outcome).toBe('cut');
    await expect.poll(ends).toHaveLength(1);
    const looked = vi.spyOn(world.links, 'get');
    world.tellLinks();
    expect(looked).not.toHaveBeenCalled();
  });

  test('is over with its call: a link that comes later leaves the connection to its own certificate', async () => {
    world.links.clear();
    const tls = { ...clientTls(old, world.td.bundle.current()), checkServerIdentity: () => undefined };
    const agent = new Agent({ keepAlive: true, maxSockets: 1, ...tls });
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } });
    const called = ask(world, undefined, { agent, body });
    await expect.poll(() => calls.open).toBe(1);
    const [socket] = Object.values(agent.sockets).flat();
    expect(await claim(world, next, secretOf(socket as TLSSocket))).toEqual([false]);
    calls.answerAll();
    expect((await called).status).toBe(200);
    // The gateway counts the call closed in the turn in which it has written the answer.
    await new Promise((resolve) => setImmediate(resolve));
    link();
    calls = holdCalls(server, 'none');
    expect((await ask(world, undefined, { agent, body })).status).toBe(200);
    agent.destroy();
  });

  test('is not kept by the link of another certificate', async () => {
    const { outcome } = await early();
    world.links.set(serialOf(world.td.svid(TRIAGE, 9 * HOUR)), serialOf(old));
    world.tellLinks();
    clock.move(1.1 * HOUR);
    expect(await outcome).toBe('cut');
  });
});

test('M90 claims that no link is for cost no signature, however often the CA tells of others', async () => {
  world.links.clear();
  const opens = await Promise.all(Array.from({ length: 20 }, () => openCall(world, old)));
  await expect.poll(() => calls.open).toBe(20);
  const secrets = opens.map(({ secret }) => secret);
  expect(await claim(world, next, ...secrets)).toEqual(secrets.map(() => false));
  // Every verification of a certificate asks for it.
  const bundle = vi.spyOn(world.td.bundle, 'current');
  for (let told = 0; told < 50; told += 1) {
    world.links.set(`40${told}`, `41${told}`);
    world.tellLinks();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(bundle).not.toHaveBeenCalled();
  world.links.set(serialOf(next), serialOf(old));
  world.tellLinks();
  const claimed = () => world.events.filter(({ stage }) => stage === 'claimed');
  await expect.poll(() => claimed().length).toBe(20);
  expect(bundle.mock.calls.length).toBeLessThanOrEqual(3);
  clock.move(1.1 * HOUR);
  calls.answerAll();
  expect(await Promise.all(opens.map(({ outcome }) => outcome))).toEqual(opens.map(() => 200));
});

test('M36 a wrong secret claims nothing', async () => {
  const { outcome } = await opened();
  expect(await claim(world, next, randomBytes(32))).toEqual([false]);
  expect(refusals()).toEqual(['mcp_call: no open call of this caller has such a secret']);
  const path = '/chancery/claims';
  const odd = (body: string, type = 'application/json') =>
    ask(world, next, { path, body, headers: { 'content-type': type } });
  for (const body of ['{}', '{"secrets":["AA"]}', '{"secrets":[1]}', `{"secrets":[${'"",'.repeat(300)}""]}`])
    expect((await odd(body)).status).toBe(400);
  const tooMany = Array.from({ length: 257 }, () => randomBytes(32));
  expect((await odd(writeClaims(tooMany))).status).toBe(400);
  expect((await odd('{"secrets":[]}', 'text/plain')).status).toBe(415);
  expect((await ask(world, next, { path, method: 'GET' })).status).toBe(405);
  clock.move(1.1 * HOUR);
  expect(await outcome).toBe('cut');
});

test('M36 the secret of a call that is over claims nothing', async () => {
  const { secret, outcome } = await opened();
  calls.answerAll();
  expect(await outcome).toBe(200);
  expect(await claim(world, next, secret)).toEqual([false]);
});

test('M36 the secret of a connection without an open call claims nothing', async () => {
  const tls = { ...clientTls(old, world.td.bundle.current()), checkServerIdentity: () => undefined };
  const agent = new Agent({ keepAlive: true, ...tls });
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
  expect((await ask(world, undefined, { agent, body })).json.result.tools).toHaveLength(4);
  await expect.poll(() => Object.keys(agent.freeSockets)).toHaveLength(1);
  const [idle] = Object.values(agent.freeSockets).flat();
  expect(await claim(world, next, secretOf(idle as TLSSocket))).toEqual([false]);
  agent.destroy();
});

test('M37 another identity claims nothing, though it has the secret and a link', async () => {
  const { secret, outcome } = await opened();
  const other = world.td.svid(OTHER, 9 * HOUR);
  world.links.set(serialOf(other), serialOf(old));
  expect(await claim(world, other, secret)).toEqual([false]);
  expect(refusals()).toEqual(['mcp_call: no open call of this caller has such a secret']);
  const stranger = world.td.svid(id('agents/nobody'), 9 * HOUR);
  await expect(claim(world, stranger, secret)).rejects.toThrow(/HTTP 403/);
  clock.move(1.1 * HOUR);
  expect(await outcome).toBe('cut');
});

test('M38 a claim over the old certificate puts nothing off', async () => {
  const { secret, outcome } = await opened();
  expect(await claim(world, old, secret)).toEqual([true]);
  clock.move(1.1 * HOUR);
  expect(await outcome).toBe('cut');
});

test('M38 the old certificate takes no call back from the next one', async () => {
  const { secret, outcome } = await opened();
  await claim(world, next, secret);
  expect(await claim(world, old, secret)).toEqual([false]);
  clock.move(1.1 * HOUR);
  calls.answerAll();
  expect(await outcome).toBe(200);
});

test('M38 a claim with a certificate that ends sooner takes nothing off', async () => {
  const { secret, outcome } = await opened();
  const short = world.td.svid(TRIAGE, HOUR / 2);
  world.links.set(serialOf(short), serialOf(old));
  expect(await claim(world, short, secret)).toEqual([true]);
  clock.move(0.6 * HOUR);
  calls.answerAll();
  expect(await outcome).toBe(200);
  expect(world.events.filter(({ stage }) => stage === 'claimed')).toEqual([]);
});

describe('a machine that wakes after the end of a certificate, before its timers run', () => {
  let time: number;
  beforeEach(async () => {
    await stop();
    time = Date.now();
    const asleep: Clock['sleepUntil'] = (_, signal) =>
      new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
    await start({ clock: { now: () => new Date(time), sleepUntil: asleep } });
  });

  test('M16 takes no request under it', async () => {
    const tls = { ...clientTls(old, world.td.bundle.current()), checkServerIdentity: () => undefined };
    const agent = new Agent({ keepAlive: true, maxSockets: 1, ...tls });
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
    expect((await ask(world, undefined, { agent, body })).json.result.tools).toHaveLength(4);
    time += 1.1 * HOUR * 1000;
    expect((await ask(world, undefined, { agent, body })).status).toBe(401);
    expect(refusals()).toEqual([`expired_peer: the certificate of ${TRIAGE} has expired`]);
    agent.destroy();
  });

  test('M38 takes no claim of a call under it', async () => {
    const { secret } = await opened();
    time += 1.1 * HOUR * 1000;
    expect(await claim(world, next, secret)).toEqual([false]);
    expect(refusals()).toEqual([`expired_peer: the certificate of ${TRIAGE} has expired`]);
  });
});

describe('a bundle that changes under an open call', () => {
  test('cuts it where its authority was taken out', async () => {
    const { outcome } = await opened();
    world.td.bundle.publish(strangeBundle());
    expect(await outcome).toBe('cut');
  });

  test('leaves a claimed one that stands by the next certificate, after the end of the old one', async () => {
    const { secret, outcome } = await opened();
    await claim(world, next, secret);
    clock.move(1.1 * HOUR);
    world.td.bundle.publish({ ...world.td.bundle.current(), sequence: 2n });
    calls.answerAll();
    expect(await outcome).toBe(200);
  });
});

describe('M39 a claimed call is cut by a revocation', () => {
  test.each([
    ['of the old certificate', () => revoked('serial', serialOf(old))],
    ['of the next one', () => revoked('serial', serialOf(next))],
    ['of its caller', () => revoked('id', TRIAGE)],
  ])('%s', async (_, set) => {
    const { secret, outcome } = await opened();
    await claim(world, next, secret);
    world.revocations.publish(set());
    expect(await outcome).toBe('cut');
    expect(refusals()).toContainEqual(expect.stringMatching(/^revoked_peer: .*triage: revocation 1/));
  });

  test('and a revoked one is not claimed', async () => {
    const { secret, outcome } = await opened(next);
    const last = world.td.svid(TRIAGE, 9 * HOUR);
    world.links.set(serialOf(last), serialOf(next));
    world.revocations.publish(revoked('serial', serialOf(next)));
    expect(await outcome).toBe('cut');
    expect(await claim(world, last, secret)).toEqual([false]);
    world.revocations.publish(revocationSet([], 2n));
  });

  test('and a claim looks at the old certificate, even if the gateway does not know it', async () => {
    await stop();
    let set = revocationSet([], 0n) as RevocationSet;
    await start({ revocations: { current: () => set, onChange: () => () => {} } });
    const { secret } = await opened();
    set = revoked('serial', serialOf(old));
    expect(await claim(world, next, secret)).toEqual([false]);
    expect(refusals()).toEqual([expect.stringMatching(/^revoked_peer: /)]);
  });
});

describe('M47 a policy that changes under an open call', () => {
  const publish = (tools: object, who = [TRIAGE, OTHER]) =>
    world.policy.publish(policyFor(world.gateway.port, tools, 9n, who));

  test('cuts a claimed call whose tool is denied now', async () => {
    const { secret, outcome } = await opened();
    await claim(world, next, secret);
    publish({ allow: ['*'], deny: ['echo'] });
    expect(await outcome).toBe('cut');
    expect(refusals()).toEqual([`mcp_call: no rule lets ${TRIAGE} call tool echo any more`]);
    await expect.poll(ends).toEqual([`unknown: no rule lets ${TRIAGE} call tool echo any more`]);
  });

  test('cuts one that is not claimed, too, and leaves calls of other tools', async () => {
    calls = holdCalls(server, 'get-sum');
    const other = await opened(old, 'get-sum');
    publish({ allow: ['get-sum'] });
    calls.answerAll();
    expect(await other.outcome).toBe(200);
    const { outcome } = await opened(old, 'get-sum');
    publish({ allow: ['echo'] });
    expect(await outcome).toBe('cut');
  });

  test('cuts an idle connection whose caller is no longer allowed', async () => {
    const tls = { ...clientTls(old, world.td.bundle.current()), checkServerIdentity: () => undefined };
    const agent = new Agent({ keepAlive: true, ...tls });
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
    expect((await ask(world, undefined, { agent, body })).json.result.tools).toHaveLength(4);
    await expect.poll(() => Object.keys(agent.freeSockets)).toHaveLength(1);
    publish({ allow: ['*'] }, [OTHER]);
    await expect.poll(() => Object.keys(agent.freeSockets)).toEqual([]);
    agent.destroy();
  });

  test('cuts a claimed call whose caller is no longer allowed', async () => {
    const { secret, outcome } = await opened();
    await claim(world, next, secret);
    publish({ allow: ['*'] }, [OTHER]);
    expect(await outcome).toBe('cut');
    expect(refusals()).toEqual([`mcp_call: no rule lets ${TRIAGE} reach this server any more`]);
    await expect.poll(ends).toEqual([`unknown: no rule lets ${TRIAGE} reach this server any more`]);
    await expect(claim(world, next, secret)).rejects.toThrow(/HTTP 403/);
  });
});

test('M48 a call ends at the stated maximum, however often it is claimed', async () => {
  await stop();
  await start({ maxCallSeconds: 2 * HOUR });
  const last = world.td.svid(TRIAGE, 9 * HOUR);
  world.links.set(serialOf(last), serialOf(next));
  const { secret, outcome } = await opened();
  expect(await claim(world, next, secret)).toEqual([true]);
  expect(await claim(world, last, secret)).toEqual([true]);
  clock.move(2.1 * HOUR);
  expect(await outcome).toBe('cut');
  expect(refusals()).toEqual(['mcp_call: an open call ends after 7200 s']);
});
