import { once } from 'node:events';
import net from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { openDoor } from '../../../test/kit/flood/doors.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import type { IdentityError } from '../ground/errors.ts';
import type { CertifiedPeer, Connection, Connections } from './connections.ts';
import { SlowAddresses } from './slow-addresses.ts';

const open: { close(): unknown }[] = [];
afterEach(() => {
  for (const each of open.splice(0).toReversed()) each.close();
});

/** A guarded server, and clients of it in the order in which they connected. */
async function guarded(connections: Connections, firstByteMs?: number) {
  const arrived: net.Socket[] = [];
  const server = net.createServer((socket) => void arrived.push(socket.on('error', () => {}).resume()));
  connections.guard(server, firstByteMs === undefined ? undefined : { firstByteMs });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  open.push(server);
  const { port } = server.address() as net.AddressInfo;
  const dial = async (localAddress: string) => {
    const seen = arrived.length;
    const socket = net.connect({ port, host: '127.0.0.1', localAddress }).on('error', () => {});
    socket.resume();
    open.push({ close: () => socket.destroy() });
    await vi.waitFor(() => expect(arrived.length > seen || socket.closed).toBe(true), { interval: 2 });
    const connection = (): Connection | undefined => connections.of(arrived[seen] as net.Socket);
    return { socket, connection, at: arrived[seen] };
  };
  const left = (sockets: readonly { readonly socket: net.Socket }[]) =>
    sockets.map(({ socket }) => !socket.closed);
  const mute = async (localAddress: string) => {
    const socket = net.connect({ port, host: '127.0.0.1', localAddress }).on('error', () => {});
    open.push({ close: () => socket.destroy() });
    await once(socket, 'connect');
    return { socket: socket.resume() };
  };
  return { dial, left, mute, arrived, close: () => server.close() };
}

const certified = (serial: string, holder = serial): CertifiedPeer => ({ serial, holder });

const closed = ({ socket }: { readonly socket: net.Socket }) =>
  vi.waitFor(() => expect(socket.closed).toBe(true));

test('an address whose share is full replaces its own longest silent connection', async () => {
  const { dial, left } = await guarded(openDoor({ perStranger: 2 }));
  const [first, second, other] = [await dial('127.0.0.2'), await dial('127.0.0.2'), await dial('127.0.0.3')];
  const third = await dial('127.0.0.2');
  await closed(first);
  expect(left([second, other, third])).toEqual([true, true, true]);
});

test('one that has just spoken is passed over', async () => {
  const { dial } = await guarded(openDoor({ strangers: 3 }));
  const [speaking, silent] = [await dial('127.0.0.2'), await dial('127.0.0.3')];
  await dial('127.0.0.4');
  speaking.socket.write('hello');
  await vi.waitFor(() => expect(speaking.at?.bytesRead).toBe(5));
  await dial('127.0.0.5');
  await closed(silent);
  expect(speaking.socket.closed).toBe(false);
});

test('a few connections of one address are not the first to go, many are', async () => {
  const { dial, left } = await guarded(openDoor({ strangers: 12 }));
  const lone = await dial('127.0.0.2');
  const few = [await dial('127.0.0.3'), await dial('127.0.0.3')];
  for (let n = 0; n < 9; n += 1) await dial('127.0.0.4');
  await dial('127.0.0.5');
  expect(left([lone, ...few])).toEqual([true, true, true]);
  await dial('127.0.0.6');
  await closed(lone);
  expect(left(few)).toEqual([true, true]);
});

test('one that is owed an answer gives way to nobody', async () => {
  const { dial } = await guarded(openDoor({ strangers: 2 }));
  const [waiting, other] = [await dial('127.0.0.2'), await dial('127.0.0.3')];
  const answered = waiting.connection()?.answer();
  await dial('127.0.0.4');
  await closed(other);
  answered?.();
  await dial('127.0.0.5');
  await dial('127.0.0.6');
  await closed(waiting);
});

test('I74 a stranger that has to wait is pushed out by none that has made no handshake', async () => {
  const clock = new ManualClock(NOW);
  const slow = new SlowAddresses(clock);
  const connections = openDoor({ strangers: 4, perStranger: 2 });
  const { dial } = await guarded(connections);
  const [one, newcomers] = [await dial('127.0.0.2'), [] as Awaited<ReturnType<typeof dial>>[]];
  slow.add({ address: '127.0.0.2' });
  const waited = one.connection()?.wait(slow, { address: '127.0.0.2' });
  for (let n = 0; n < 6; n += 1) newcomers.push(await dial('127.0.0.2'));
  await closed(newcomers[3] as (typeof newcomers)[number]);
  expect(one.socket.closed).toBe(false);
  await vi.waitFor(() => expect(clock.sleeping).toBe(1));
  clock.advanceTo(after(1));
  expect(await waited).toBe(true);
  expect(connections.open.strangers).toBe(2);
});

test('one that leaves while it waits does not go on, and takes no place later', async () => {
  const clock = new ManualClock(NOW);
  const slow = new SlowAddresses(clock);
  const connections = openDoor();
  const { dial } = await guarded(connections);
  const one = await dial('127.0.0.2');
  slow.add({ address: '127.0.0.2' });
  const waited = one.connection()?.wait(slow, { address: '127.0.0.2' });
  one.socket.destroy();
  expect(await waited).toBe(false);
  await vi.waitFor(() => expect(connections.open.strangers).toBe(0));
  clock.advanceTo(after(2));
  await new Promise((resolve) => setImmediate(resolve));
  expect(connections.open.strangers).toBe(0);
});

test('a certified peer that has to wait keeps its place among the certified', async () => {
  const clock = new ManualClock(NOW);
  const slow = new SlowAddresses(clock);
  const connections = openDoor();
  const { dial } = await guarded(connections);
  const connection = (await dial('127.0.0.2')).connection();
  connection?.certify(certified('a'));
  slow.add({ address: 'a' });
  const waited = connection?.wait(slow, { address: 'a' });
  expect(connections.open).toEqual({ strangers: 0, certified: 1 });
  clock.advanceTo(after(1));
  expect(await waited).toBe(true);
  expect(connections.open).toEqual({ strangers: 0, certified: 1 });
});

test('strangers do not push out certified peers, which leave the places of strangers', async () => {
  const connections = openDoor({ strangers: 2, certified: 2 });
  const { dial, left } = await guarded(connections);
  const peers = [await dial('127.0.0.2'), await dial('127.0.0.2')];
  for (const [n, { connection }] of peers.entries())
    expect(connection()?.certify(certified(`${n}`))).toBe(true);
  expect(connections.open).toEqual({ strangers: 0, certified: 2 });
  for (let n = 3; n < 9; n += 1) await dial(`127.0.0.${n}`);
  expect(left(peers)).toEqual([true, true]);
});

test('a certified peer takes no place of another one that holds as few', async () => {
  const { dial, left } = await guarded(openDoor({ certified: 2 }));
  const [one, two, late] = [await dial('127.0.0.2'), await dial('127.0.0.3'), await dial('127.0.0.4')];
  for (const [n, { connection }] of [one, two].entries()) connection()?.certify(certified(`${n}`));
  expect(late.connection()?.certify(certified('2'))).toBe(false);
  await closed(late);
  expect(left([one, two])).toEqual([true, true]);
});

test.each([
  ['a certificate', { perCertificate: 1 }, certified('same', 'a'), certified('same', 'a')],
  ['a holder of several', { perHolder: 1 }, certified('one', 'a'), certified('other', 'a')],
])('%s whose share is full replaces its own longest silent connection', async (_, settings, one, other) => {
  const { dial, left } = await guarded(openDoor(settings));
  const [first, second] = [await dial('127.0.0.2'), await dial('127.0.0.3')];
  expect(first.connection()?.certify(one)).toBe(true);
  expect(second.connection()?.certify(other)).toBe(true);
  await closed(first);
  expect(left([second])).toEqual([true]);
});

describe('when all places of certified peers are taken', () => {
  /** Connections of one holder with a certificate each, which are owed answers. */
  async function taken(places: number, { owed = true, by = 'large' } = {}) {
    const { dial, left } = await guarded(openDoor({ certified: places }));
    const lost = vi.fn<(refusal: IdentityError) => void>();
    const held = [];
    for (let n = 0; n < places; n += 1) {
      const each = await dial('127.0.0.2');
      expect(each.connection()?.certify({ ...certified(`${n}`, by), onLost: lost })).toBe(true);
      if (owed) each.connection()?.answer();
      held.push(each);
    }
    return { dial, left, held, lost };
  }

  test('the largest holder gives way, though all its connections are owed answers', async () => {
    const { dial, left, held, lost } = await taken(4);
    const late = await dial('127.0.0.3');
    expect(late.connection()?.certify(certified('late'))).toBe(true);
    late.connection()?.answer();
    await closed(held[0] as (typeof held)[number]);
    expect(lost.mock.calls.map(([{ code, message }]) => [code, message])).toEqual([
      ['rate', 'large has 4 of 4 connections, more than any other'],
    ]);
    const another = await dial('127.0.0.4');
    expect(another.connection()?.certify(certified('another'))).toBe(true);
    await closed(held[1] as (typeof held)[number]);
    expect(left([late, another, ...held])).toEqual([true, true, false, false, true, true]);
  });

  test('a holder of fewer than the average gives none of its silent connections', async () => {
    const { dial, left, held } = await taken(5);
    const small = [await dial('127.0.0.3'), await dial('127.0.0.3')];
    for (const { connection } of small) expect(connection()?.certify(certified('small'))).toBe(true);
    const late = await dial('127.0.0.4');
    expect(late.connection()?.certify(certified('late'))).toBe(true);
    await closed(held[2] as (typeof held)[number]);
    expect(left([late, ...small])).toEqual([true, true, true]);
  });

  test('a silent connection goes before one that is owed an answer', async () => {
    const { dial, left, held } = await taken(4);
    const idle = held[2] as (typeof held)[number];
    const other = await dial('127.0.0.3');
    idle.socket.destroy();
    await vi.waitFor(() => expect(idle.at?.closed).toBe(true));
    expect(other.connection()?.certify(certified('idle', 'large'))).toBe(true);
    const late = await dial('127.0.0.4');
    expect(late.connection()?.certify(certified('late'))).toBe(true);
    await closed(other);
    expect(left([late, ...held])).toEqual([true, true, true, false, true]);
  });

  test('one that holds as many as all others gets none', async () => {
    const { dial, left, held } = await taken(1);
    const late = await dial('127.0.0.3');
    expect(late.connection()?.certify(certified('late'))).toBe(false);
    await closed(late);
    expect(left(held)).toEqual([true]);
  });
});

test('a place is free when its connection is closed', async () => {
  const connections = openDoor();
  const { dial } = await guarded(connections);
  const { socket, connection } = await dial('127.0.0.2');
  connection()?.certify(certified('a'));
  socket.destroy();
  await vi.waitFor(() => expect(connections.open).toEqual({ strangers: 0, certified: 0 }));
});

describe('a port whose peers speak first', () => {
  const LONG = 60_000;
  const openOf = (sockets: readonly { readonly socket: net.Socket }[]): number =>
    sockets.filter(({ socket }) => !socket.closed).length;

  test('shows its server a connection with the first byte, and none that says nothing', async () => {
    const connections = openDoor();
    const { mute, arrived } = await guarded(connections, LONG);
    const [silent, speaking] = [await mute('127.0.0.2'), await mute('127.0.0.3')];
    speaking.socket.write('hello');
    await vi.waitFor(() => expect(arrived).toHaveLength(1));
    const [socket] = arrived as [net.Socket];
    const heard: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => void heard.push(chunk));
    speaking.socket.write(' world');
    await vi.waitFor(() => expect(Buffer.concat(heard).toString()).toMatch(/ world$/));
    expect([socket.bytesRead, socket.remoteAddress]).toEqual([11, '127.0.0.3']);
    expect(connections.of(socket)).toBeDefined();
    expect([silent.socket.closed, connections.open.strangers]).toEqual([false, 2]);
  });

  test('keeps what has spoken while any number of silent ones come', async () => {
    const { mute, arrived } = await guarded(openDoor({ strangers: 3 }), LONG);
    const speaking = [await mute('127.0.0.2'), await mute('127.0.0.3'), await mute('127.0.0.4')];
    for (const { socket } of speaking) socket.write('hello');
    await vi.waitFor(() => expect(arrived).toHaveLength(3));
    const silent: Awaited<ReturnType<typeof mute>>[] = [];
    for (let n = 0; n < 12; n += 1) silent.push(await mute(`127.0.1.${n + 1}`));
    await vi.waitFor(() => expect(openOf(silent)).toBe(3));
    expect(openOf(speaking)).toBe(3);
  });

  test('gives one address its share of silent connections', async () => {
    const { mute } = await guarded(openDoor({ perStranger: 2 }), LONG);
    const silent = [await mute('127.0.0.2'), await mute('127.0.0.2'), await mute('127.0.0.2')];
    await closed(silent[0] as (typeof silent)[number]);
    expect(openOf(silent)).toBe(2);
  });

  test.each<[string, number, (socket: net.Socket) => unknown]>([
    ['says nothing for too long', 20, () => {}],
    ['is half closed', LONG, (socket) => socket.end()],
    ['is reset', LONG, (socket) => socket.resetAndDestroy()],
  ])('ends a connection that %s before its first byte', async (_, ms, spoil) => {
    const connections = openDoor();
    const { mute, arrived } = await guarded(connections, ms);
    const one = await mute('127.0.0.2');
    spoil(one.socket);
    await closed(one);
    await vi.waitFor(() => expect(connections.open.strangers).toBe(0));
    expect(arrived).toEqual([]);
  });

  test('begins none while its server closes', async () => {
    const { mute, arrived, close } = await guarded(openDoor(), LONG);
    const late = await mute('127.0.0.2');
    close();
    late.socket.write('hello');
    await closed(late);
    expect(arrived).toEqual([]);
  });

  test('has no time limit on what comes after the first byte', async () => {
    const { mute, arrived } = await guarded(openDoor(), LONG);
    const { socket } = await mute('127.0.0.2');
    socket.write('hello');
    await vi.waitFor(() => expect(arrived).toHaveLength(1));
    expect(arrived[0]?.timeout ?? 0).toBe(0);
  });
});
