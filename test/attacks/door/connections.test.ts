/** Connections that are opened and then left silent, at the CA and at a gateway: rows I46, I49 and I73. */
import { once } from 'node:events';
import { Agent } from 'node:https';
import { IdentityClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { freshCsr, helloMessage, issueOne, joinAs, openRenew } from '../../kit/ca/join.ts';
import { expectRefusal } from '../../kit/ca/talk.ts';
import { floodedCa, WORKLOAD } from '../../kit/flood/flooded.ts';
import { connectFrom, fallSilent, framed, statusOf } from '../../kit/flood/stranger.ts';
import { ask } from '../../kit/mcp/clients/ask.ts';
import { type FakeServer, startFakeServer } from '../../kit/mcp/servers/server.ts';
import { startWorld, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

const GET_BUNDLE = '/chancery.v1.Trust/GetBundle';
const PLACES = 8;
const SHARE = 4;
const openOf = (connections: readonly (() => boolean)[]): number =>
  connections.filter((isOpen) => isOpen()).length;
const addresses = (net: number, count: number): readonly string[] =>
  Array.from({ length: count }, (_, n) => `127.0.${net}.${n + 1}`);

describe('at the CA', () => {
  const limits = { strangerConnections: PLACES, connectionsPerCaller: SHARE, attestationBurst: 1000 };
  const { ca, from, silent } = floodedCa(limits);
  const bundleFor = (address: string) =>
    statusOf(from(address).call(GET_BUNDLE, framed(new Uint8Array())).end());

  const connectionsOf = async (share: 'certified' | 'strangers'): Promise<number> => {
    const metrics = await (await fetch(`http://127.0.0.1:${ca().running.httpPort}/metrics`)).text();
    return Number(
      new RegExp(`^chancery_open_connections\\{share="${share}"\\} (\\d+)`, 'm').exec(metrics)?.[1],
    );
  };

  test('I46 one address opens forty connections and says nothing: four are kept, and others are served', async () => {
    const opened = Array.from({ length: 40 }, () => silent('127.0.10.1'));
    await vi.waitFor(() => expect(openOf(opened)).toBe(SHARE));
    expect(await bundleFor('127.0.10.2')).toBe(grpc.status.OK);
    expect(await bundleFor('127.0.10.1')).toBe(grpc.status.OK);
    expect(openOf(opened)).toBe(SHARE - 1);
  });

  test('I46 many addresses take all places of strangers: strangers that speak and certified peers are served', async () => {
    const svid = await joinAs(ca());
    const renewal = openRenew(ca(), svid);
    await vi.waitFor(async () => expect(await connectionsOf('certified')).toBe(1), { interval: 50 });
    const opened = addresses(11, 5 * PLACES).map((address) => silent(address));
    await vi.waitFor(() => expect(openOf(opened)).toBe(PLACES));
    for (const address of addresses(12, 3)) expect(await bundleFor(address)).toBe(grpc.status.OK);
    await issueOne(ca(), svid);
    // Still on the connection from before, where it is refused for its evidence: it is not on join.sock.
    renewal.send(await helloMessage());
    await expectRefusal(ca(), await renewal.status(), 'peer_unknown', /./);
    renewal.close();
  });

  test('I73 silent connections come from new addresses without a pause: a stranger that has spoken keeps its own', async () => {
    const waiting = from('127.0.14.1');
    const ask = () => statusOf(waiting.call(GET_BUNDLE, framed(new Uint8Array())).end());
    await ask();
    const before = await connectionsOf('strangers');
    const silent = Array.from({ length: 5 }, (_, round) => addresses(15 + round, 5 * PLACES)).flat();
    const sockets = silent.map((address) => connectFrom(address, ca().running.port));
    await vi.waitFor(() => expect(sockets.every(({ connecting }) => !connecting)).toBe(true));
    expect(await ask()).toBe(grpc.status.OK);
    // They are the kernel's until they speak.
    expect(await connectionsOf('strangers')).toBeLessThanOrEqual(before);
    expect((await joinAs(ca())).id).toBe(WORKLOAD);
    for (const socket of sockets) socket.destroy();
  });

  test('I46 a connection without a handshake, or on which a stranger asks nothing, ends in seconds', async () => {
    const svid = await joinAs(ca());
    const { address, credentials, options } = ca().target(svid);
    const certified = new IdentityClient(address, credentials, options);
    const csrs = [await freshCsr()];
    await new Promise<void>((resolve, reject) => {
      certified.issueX509({ csrs, succeeds: Buffer.alloc(0), scope: '' }, (error) =>
        error === null ? resolve() : reject(error),
      );
    });
    const [mute, asked, waiting] = [from('127.0.13.1'), from('127.0.13.2'), from('127.0.13.3')];
    const ended = [mute, asked, waiting].map(({ session }) => once(session, 'close'));
    const unspoken = silent('127.0.13.4');
    await statusOf(asked.call(GET_BUNDLE, framed(new Uint8Array())).end());
    await statusOf(waiting.call('/chancery.v1.Attestation/Attest'));
    await Promise.all(ended);
    await vi.waitFor(() => expect(unspoken()).toBe(false));
    expect(certified.getChannel().getConnectivityState(false)).toBe(grpc.connectivityState.READY);
    certified.close();
  }, 60_000);
});

describe('at a gateway', () => {
  let server: FakeServer;
  let world: World;
  let svid: Svid;
  beforeAll(async () => {
    server = await startFakeServer();
    world = await startWorld(server.target, { connections: { strangers: PLACES, perStranger: SHARE } });
    svid = world.td.svid(TRIAGE);
  });
  afterAll(async () => {
    await world?.close();
    await server?.close();
  });
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } });
  /** What the tool said: an error would be HTTP 200, too. */
  const called = async (agent?: Agent): Promise<string | undefined> =>
    (await ask(world, svid, { body, ...(agent === undefined ? {} : { agent }) })).json.result?.content[0]
      .text;
  const silent = (address: string): (() => boolean) => {
    const socket = fallSilent(connectFrom(address, world.gateway.port)).resume();
    return () => !socket.closed;
  };

  test('I49 one address opens forty connections and says nothing: four are kept, and calls pass', async () => {
    const opened = Array.from({ length: 40 }, () => silent('127.0.20.1'));
    await vi.waitFor(() => expect(openOf(opened)).toBe(SHARE));
    expect(await called()).toBe('echo');
  });

  test('I49 many addresses take all places of strangers: open connections of callers stay, and new ones come in', async () => {
    const tls = { ...clientTls(svid, world.td.bundle.current()), checkServerIdentity: () => undefined };
    const agent = new Agent({ ...tls, keepAlive: true, maxSockets: 1 });
    const socketOf = () => Object.values(agent.freeSockets).flat()[0];
    expect(await called(agent)).toBe('echo');
    await vi.waitFor(() => expect(socketOf()).toBeDefined());
    const before = socketOf();
    const opened = addresses(21, 5 * PLACES).map((address) => silent(address));
    await vi.waitFor(() => expect(openOf(opened)).toBe(PLACES));
    expect(await called(agent)).toBe('echo');
    await vi.waitFor(() => expect(socketOf()).toBe(before));
    expect(await called()).toBe('echo');
    agent.destroy();
  });

  test('I49 a connection without a handshake ends in seconds', { timeout: 60_000 }, async () => {
    const started = performance.now();
    const isOpen = silent('127.0.22.1');
    await vi.waitFor(() => expect(isOpen()).toBe(false));
    expect(performance.now() - started).toBeLessThan(60_000);
  });
});
