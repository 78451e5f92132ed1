/** A network that forgets a connection without a word: nothing of ours waits for it for ever. */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ask } from '../../kit/mcp/clients/ask.ts';
import { startPlayed, stopPlayed } from '../../kit/mcp/clients/caller.ts';
import { type FakeServer, politely } from '../../kit/mcp/servers/server.ts';
import { connectTo, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

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
  ({ server, world } = await startPlayed());
});
afterEach(() => stopPlayed(world, server));

/** Seconds until the kernel asks the other side, of each established connection; undefined if it never does. */
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

test.runIf(process.platform === 'linux')(
  'M72 a connection that is used again is asked as late, and as soon, as before',
  async () => {
    const { target } = server;
    const upstream = target.kind === 'url' ? Number(target.url.port) : 0;
    const connect = await connectTo(world, { kind: 'tcp', port: 0 });
    const leave = new AbortController();
    const call = (id: number) =>
      fetch(`http://127.0.0.1:${connect.port}/mcp`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
        body: JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'echo' } }),
        signal: leave.signal,
      }).then((response) => response.text());
    await call(1);
    server.say = () => {};
    const calling = call(2).catch(() => {});
    await expect.poll(() => server.seen.length).toBe(2);
    for (const port of [world.gateway.port, upstream])
      await expect
        .poll(() => keepalives('remote', port).map((seconds = 0) => seconds > 2 && seconds < 60))
        .toEqual([true]);
    leave.abort();
    await calling;
    await connect.close();
  },
);

test.runIf(process.platform === 'linux')(
  'M72 the connection of a request that is sent again after a stale one is asked and watched, too',
  async () => {
    const { target } = server;
    const port = target.kind === 'url' ? Number(target.url.port) : 0;
    const ours = () => watched.filter((socket) => socket.remotePort === port);
    const svid = world.td.svid(TRIAGE);
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
    expect((await ask(world, svid, { body })).status).toBe(200);
    const [stale] = ours();
    await expect.poll(() => keepalives('remote', port)).toEqual([expect.any(Number)]);
    // As the kernel answers where the server has closed the connection and taken no byte.
    const broken = Object.assign(new Error('write EPIPE'), { code: 'EPIPE', syscall: 'write' });
    const refuse = (...args: unknown[]): void => (args.at(-1) as (error: Error) => void)(broken);
    Object.assign(stale ?? {}, { _write: refuse, _writev: refuse });
    let answer = (): void => {};
    server.say = (seen, res, req) => {
      answer = () => politely(seen, res, req);
    };
    const asking = ask(world, svid, { body });
    await expect.poll(() => server.seen.length).toBe(2);
    expect(stale?.destroyed).toBe(true);
    expect(ours().filter((socket) => socket !== stale)).toHaveLength(1);
    await expect.poll(() => keepalives('remote', port)).toEqual([expect.any(Number)]);
    expect(keepalives('remote', port)[0]).toBeLessThan(60);
    answer();
    expect((await asking).status).toBe(200);
  },
);
