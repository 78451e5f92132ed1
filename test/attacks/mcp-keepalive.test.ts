/** A network that forgets a connection without a word: nothing of ours waits for it for ever. */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type FakeServer, startFakeServer } from '../kit/mcp/server.ts';
import { connectTo, startWorld, type World } from '../kit/mcp/world.ts';

const watched = vi.hoisted<Socket[]>(() => []);
vi.mock(import('@chancery/agent/mcp/wire/tcp.ts'), async (original) => {
  const actual = await original();
  const noticeLoss: typeof actual.noticeLoss = (socket, bounds) => {
    watched.push(socket);
    actual.noticeLoss(socket, bounds);
  };
  return { ...actual, noticeLoss };
});

let server: FakeServer;
let world: World;
beforeEach(async () => {
  server = await startFakeServer();
  world = await startWorld(server.target);
});
afterEach(async () => {
  await world.close();
  await server.close();
});

/** Seconds until the kernel asks the other side, of each established connection; undefined where it never does. */
function keepalives(end: 'local' | 'remote', port: number): readonly (number | undefined)[] {
  const rows = readFileSync('/proc/net/tcp', 'latin1').trim().split('\n').slice(1);
  return rows.flatMap((row) => {
    // proc_pid_net(5): sl local_address rem_address st tx_queue:rx_queue tr:tm->when
    const [, local = '', remote = '', state, , timer = ''] = row.trim().split(/\s+/);
    const address = end === 'local' ? local : remote;
    if (state !== '01' || Number.parseInt(address.split(':')[1] ?? '', 16) !== port) return [];
    const [kind, when = ''] = timer.split(':');
    return [kind === '02' ? Number.parseInt(when, 16) / 100 : undefined];
  });
}

test.runIf(process.platform === 'linux')(
  'M72 I96 every connection of an open call is asked within a minute whether it is still there, and watched',
  async () => {
    server.say = () => {};
    const connect = await connectTo(world, { kind: 'tcp', port: 0 });
    const leave = new AbortController();
    const calling = fetch(`http://127.0.0.1:${connect.port}/mcp`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: {} }),
      signal: leave.signal,
    }).catch(() => {});
    await expect.poll(() => server.seen.length).toBe(1);
    const { target } = server;
    const upstream = target.kind === 'url' ? Number(target.url.port) : 0;
    for (const [end, port] of [
      ['local', world.gateway.port],
      ['remote', world.gateway.port],
      ['remote', upstream],
    ] as const) {
      // A byte that is not acknowledged yet has another timer.
      await expect.poll(() => keepalives(end, port)).toEqual([expect.any(Number)]);
      const [seconds = Number.POSITIVE_INFINITY] = keepalives(end, port);
      expect(seconds).toBeLessThan(60);
      // The socket of the gateway's side has the gateway's port on our side, the others on theirs.
      const portOf = ({ localPort, remotePort }: Socket) => (end === 'local' ? localPort : remotePort);
      expect(watched.filter((socket) => portOf(socket) === port)).not.toEqual([]);
    }
    leave.abort();
    await calling;
    await connect.close();
  },
);
