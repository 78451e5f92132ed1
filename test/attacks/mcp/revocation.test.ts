/** Attacks by way of a certificate that was revoked, at the gateway and towards one: row M15. */
import { Agent } from 'node:https';
import { inForce, type RevocationSet, revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MovableClock } from '../../kit/clock.ts';
import { ask } from '../../kit/mcp/clients/ask.ts';
import { callerOf, rpc, startPlayed, stopPlayed } from '../../kit/mcp/clients/caller.ts';
import { serialOf } from '../../kit/mcp/clients/open-calls.ts';
import { type FakeServer, politely, stream } from '../../kit/mcp/servers/server.ts';
import { connectTo, id, revoked, startWorld, TOOLS, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

/** An error of the call's own is HTTP 200, too. */
const RESULT = { status: 200, text: expect.stringContaining('"result"') };

const OTHER = id('agents/other');
const detail = /^spiffe:\/\/prod\.example\/agents\/triage: revocation 1 \(/;
let server: FakeServer;
let world: World;
let clock: MovableClock;
let svid: Svid;
beforeEach(async () => {
  clock = new MovableClock();
  ({ server, world } = await startPlayed({ clock, who: [TRIAGE, OTHER] }));
  svid = world.td.svid(TRIAGE);
});
afterEach(() => stopPlayed(world, server));

const { post, begin, listen } = callerOf(
  () => world,
  () => svid,
);
const call = (method = 'tools/call', params: object = { name: 'echo' }) => rpc(method, params, 1);

const openStream: FakeServer['say'] = (seen, res, req) =>
  seen.method === 'GET' ? stream(res, [], true) : politely(seen, res, req);
const refusals = () => world.events.filter(({ stage }) => stage === 'refused');

/** What may reach a gateway that cuts off this one caller: of a node it is told the certificates. */
const ways: [string, (svid: Svid) => RevocationSet][] = [
  ['serial', (own) => revoked('serial', serialOf(own))],
  ['origin', (own) => revoked('serial', '40aa', { serials: [serialOf(own)] })],
  ['id', () => revoked('id', TRIAGE)],
  ['pattern', () => revoked('pattern', 'spiffe://prod.example/agents/*')],
  ['node', (own) => revoked('node', 'tpm/n1', { serials: [serialOf(own)] })],
];

describe.each(ways)('M15 a caller that is revoked by %s', (_, setFor) => {
  test('has its open stream cut at once, which is on record', async () => {
    server.say = openStream;
    const { closed } = await listen(await begin());
    world.revocations.publish(setFor(svid));
    await closed;
    expect(refusals()).toMatchObject([
      { code: 'revoked_peer', detail: expect.stringMatching(detail), caller: TRIAGE, serial: serialOf(svid) },
    ]);
  });

  test('has its long call cut at once, at the server too', async () => {
    const left = new Promise<void>((resolve) => {
      server.say = (_seen, res) => res.on('close', resolve);
    });
    const calling = expect(post(call())).rejects.toThrow(/socket hang up|ECONNRESET/);
    await expect.poll(() => server.seen.length).toBe(1);
    world.revocations.publish(setFor(svid));
    await calling;
    await left;
    await expect
      .poll(() => world.events.at(-1))
      .toMatchObject({ stage: 'answered', outcome: 'unknown', detail: expect.stringMatching(detail) });
    expect(refusals()).toMatchObject([{ code: 'revoked_peer', caller: TRIAGE }]);
  });

  test('has one record of the end of a call in a session', async () => {
    const session = await begin();
    let isCut = false;
    server.say = (seen, res, req) => {
      if (seen.method === 'POST') res.on('close', () => (isCut = true));
      else politely(seen, res, req);
    };
    const calling = expect(post(call(), session)).rejects.toThrow(/socket hang up|ECONNRESET/);
    await expect.poll(() => server.seen.at(-1)?.json?.method).toBe('tools/call');
    world.revocations.publish(setFor(svid));
    await calling;
    await expect.poll(() => isCut).toBe(true);
    expect(world.events.filter(({ stage, tool }) => stage === 'answered' && tool === 'echo')).toMatchObject([
      { outcome: 'unknown', detail: 'its caller is revoked' },
    ]);
  });

  test('gets no connection', async () => {
    world.revocations.publish(setFor(svid));
    await expect(post(call())).rejects.toThrow();
    expect(refusals()[0]).toMatchObject({
      code: 'revoked_peer',
      detail: expect.stringMatching(detail),
      caller: TRIAGE,
    });
    // What it had sent already is no request of anybody's.
    expect(refusals().filter(({ code }) => code !== 'revoked_peer' && code !== 'no_peer')).toEqual([]);
    expect(server.seen).toEqual([]);
  });

  test('has its sessions ended at the server, and is back without them when it is lifted', async () => {
    const session = await begin();
    world.revocations.publish(setFor(svid));
    await expect.poll(() => server.seen.at(-1)?.method).toBe('DELETE');
    world.revocations.publish(revocationSet([], 2n));
    expect((await post(call(), session)).status).toBe(404);
    expect(await post(call(), await begin())).toMatchObject(RESULT);
  });
});

describe('M15 a revocation', () => {
  test('of one caller leaves the streams and sessions of another', async () => {
    server.say = openStream;
    const other = world.td.svid(OTHER);
    const session = await begin(other);
    const { response } = await listen(session, other);
    world.revocations.publish(revoked('id', TRIAGE));
    server.say = politely;
    expect(await post(call(), session, other)).toMatchObject(RESULT);
    expect(response.destroyed).toBe(false);
    response.destroy();
  });

  test('is what connect says of a call that it cut off, and of the next one', async () => {
    server.say = () => {};
    const connect = await connectTo(world, { kind: 'tcp', port: 0 });
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
    const say = async () => {
      const url = `http://127.0.0.1:${connect.port}/mcp`;
      return (await fetch(url, { method: 'POST', headers, body: call() })).json();
    };
    const cut = say();
    await expect.poll(() => server.seen.length).toBe(1);
    world.revocations.publish(revoked('id', TRIAGE));
    const message = expect.stringMatching(/^this identity is revoked: revocation 1 \(/);
    expect(await cut).toMatchObject({ error: { message } });
    expect(await say()).toMatchObject({ error: { message } });
    await connect.close();
  });

  test('of one certificate leaves the same caller’s other', async () => {
    const stolen = world.td.svid(TRIAGE);
    const session = await begin();
    world.revocations.publish(revoked('serial', serialOf(stolen)));
    await expect(post(call(), {}, stolen)).rejects.toThrow();
    expect(await post(call(), session)).toMatchObject(RESULT);
  });

  test('is over at its end', async () => {
    const until = new Date(clock.now().getTime() + 60_000);
    world.revocations.publish(revoked('id', TRIAGE, { until }));
    await expect(post(call())).rejects.toThrow();
    clock.move(61);
    expect(inForce({ until }, clock.now())).toBe(false);
    expect(await post(call())).toMatchObject(RESULT);
  });

  test('is checked with each request on an open connection, even without a notification', async () => {
    let set = revocationSet([], 0n) as RevocationSet;
    const silent = { current: () => set, onChange: () => () => {} };
    const deaf = await startWorld(server.target, { revocations: silent });
    const own = deaf.td.svid(TRIAGE);
    const tls = { ...clientTls(own, deaf.td.bundle.current()), checkServerIdentity: () => undefined };
    const agent = new Agent({ keepAlive: true, maxSockets: 1, ...tls });
    expect(await ask(deaf, undefined, { agent, body: call() })).toMatchObject(RESULT);
    set = revoked('id', TRIAGE);
    expect((await ask(deaf, undefined, { agent, body: call() })).status).toBe(401);
    expect(deaf.events.at(-1)).toMatchObject({ stage: 'refused', code: 'revoked_peer' });
    expect(server.seen).toHaveLength(1);
    agent.destroy();
    await deaf.close();
  });
});

describe('M15 a gateway that is revoked', () => {
  const connected = async () => {
    const connect = await connectTo(world, { kind: 'tcp', port: 0 });
    const say = async () => {
      const answer = await fetch(`http://127.0.0.1:${connect.port}/mcp`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
        body: call(),
      });
      return { status: answer.status, text: await answer.text() };
    };
    return { connect, say };
  };
  const gatewayRevoked = () => revoked('id', TOOLS);

  test('is not called by connect', async () => {
    const { connect, say } = await connected();
    world.revocations.publish(revoked('id', id('agents/nobody')));
    expect(await say()).toMatchObject(RESULT);
    world.revocations.publish(gatewayRevoked());
    const answer = await say();
    expect(answer.status).toBe(401);
    expect(server.seen).toHaveLength(1);
    await connect.close();
  });

  test('is left by connect at once, whatever is under way', async () => {
    const { connect, say } = await connected();
    server.say = () => {};
    const calling = say();
    await expect.poll(() => server.seen.length).toBe(1);
    world.revocations.publish(gatewayRevoked());
    const { status, text } = await calling;
    expect([status, JSON.parse(text)]).toMatchObject([
      200,
      { id: 1, error: { message: expect.stringMatching(/revocation 1 .*may have done what was asked$/) } },
    ]);
    await connect.close();
  });

  test('is called again with another certificate than the one that is revoked', async () => {
    const { connect, say } = await connected();
    expect(await say()).toMatchObject(RESULT);
    const stolen = serialOf(world.gatewaySvid.current());
    world.revocations.publish(revoked('serial', stolen));
    expect((await say()).status).toBe(401);
    world.gatewaySvid.publish(world.td.svid(TOOLS));
    expect(await say()).toMatchObject(RESULT);
    await connect.close();
  });
});
