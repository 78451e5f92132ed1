/**
 * The attackers of bench `flood`, in a process of their own: they share no event loop with the honest client. Each
 * attack begins again what is ended.
 */
import http2 from 'node:http2';
import net from 'node:net';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { connectFrom, framed, type Stranger, statusOf, stranger } from '../../kit/flood/stranger.ts';

export interface Ports {
  readonly ca: number;
  readonly gateway: number;
  readonly connect: number;
}

export interface Tally {
  /** What was opened, and what of it was refused or ended by the other side. */
  readonly opened: number;
  readonly refused: number;
}

const MIB = 1024 * 1024;
const SERVICE = '/chancery.v1';
const tally = { opened: 0, refused: 0 };
/** As many at once as a short pause allows, which leaves a core to the honest ones. */
const PAUSE_MS = 5;

/** The address of attacker `n`; each attack has a network of its own. */
const address = (network: number, n: number): string =>
  `127.${network}.${Math.floor(n / 250) % 250}.${1 + (n % 250)}`;

/** Keeps `count` of them open. `open` resolves when its connection has ended. */
function keepOpen(count: number, open: (n: number) => Promise<unknown>): void {
  for (let n = 0; n < count; n += 1) void again(n, open);
}

async function again(n: number, open: (n: number) => Promise<unknown>): Promise<never> {
  for (;;) {
    tally.opened += 1;
    await open(n);
    tally.refused += 1;
    await sleep(PAUSE_MS);
  }
}

async function refusedCall(peer: Stranger, path: string, body?: Uint8Array): Promise<void> {
  const call = peer.call(`${SERVICE}.${path}`, body);
  if (body !== undefined) call.end();
  await statusOf(call);
}

const closed = (socket: net.Socket): Promise<void> =>
  new Promise((resolve) => socket.resume().once('close', () => resolve()));

/** As many as one address may have, each opened again when it is ended. */
async function silentStreams(from: string, port: number): Promise<void> {
  const peer = stranger(from, port);
  const one = async (): Promise<void> => {
    while (!peer.session.destroyed && !peer.session.closed) {
      tally.opened += 1;
      await refusedCall(peer, 'Attestation/Attest');
      tally.refused += 1;
      await sleep(PAUSE_MS);
    }
  };
  await Promise.all(Array.from({ length: 64 }, one));
  peer.close();
}

/** Messages of a byte too few, as many as one connection may have streams. */
async function unfinished(from: string, port: number): Promise<void> {
  const peer = stranger(from, port);
  const body = framed(new Uint8Array(MIB - 1), MIB);
  await Promise.all(
    Array.from({ length: 256 }, async (_, n) => {
      if (n > 0) tally.opened += 1;
      await statusOf(peer.call(`${SERVICE}.${n % 2 === 0 ? 'Attestation/Attest' : 'Trust/GetBundle'}`, body));
      if (n > 0) tally.refused += 1;
    }),
  );
  peer.close();
}

function rapidReset(from: string, port: number): Promise<void> {
  const { session } = stranger(from, port);
  const more = (): void => {
    if (session.destroyed || session.closed) return;
    for (let n = 0; n < 100; n += 1) {
      const stream = session.request({ ':method': 'POST', ':path': `${SERVICE}.Attestation/Attest` });
      stream.on('error', () => {}).close(http2.constants.NGHTTP2_CANCEL);
      tally.opened += 1;
    }
    session.ping(more);
  };
  session.once('connect', more);
  return new Promise((resolve) => session.once('close', () => resolve()));
}

/** Calls that nobody without a certificate, or off the admin socket, may make. */
async function refusals(from: string, port: number): Promise<void> {
  const peer = stranger(from, port);
  const paths = ['Operator/ListAgents', 'Operator/Apply', 'Identity/IssueX509', 'Identity/Renew'];
  while (!peer.session.destroyed && !peer.session.closed)
    await Promise.all(
      paths.map(async (path) => {
        tally.opened += 1;
        await refusedCall(peer, path, framed(new Uint8Array()));
        tally.refused += 1;
      }),
    );
}

/** A whole handshake without a certificate, which the gateway refuses. */
const handshake = (from: string, port: number): Promise<void> =>
  closed(tls.connect({ socket: connectFrom(from, port), rejectUnauthorized: false }).on('error', () => {}));

/** A table of many sockets, and connections that are closed as soon as they are made. */
async function sockets(port: number): Promise<void> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const own = (server.address() as net.AddressInfo).port;
  for (let n = 0; n < 2_000; n += 1) net.connect(own, '127.0.0.1').on('error', () => {});
  for (;;) {
    tally.opened += 1;
    const socket = net.connect(port, '127.0.0.1', () => socket.destroy()).on('error', () => {});
    await sleep(1000 / 60);
  }
}

const ATTACKS: Readonly<Record<string, (ports: Ports) => void>> = {
  A2: ({ ca }) => keepOpen(9, (n) => silentStreams(address(2, n), ca)),
  A3: ({ ca }) => keepOpen(3_000, (n) => closed(connectFrom(address(3, n), ca))),
  A3gateway: ({ gateway }) => keepOpen(3_000, (n) => closed(connectFrom(address(4, n), gateway))),
  A4: ({ ca }) => keepOpen(8, (n) => unfinished(address(5, n), ca)),
  A4reset: ({ ca }) => keepOpen(8, (n) => rapidReset(address(6, n), ca)),
  A5: ({ ca }) => keepOpen(8, (n) => refusals(address(7, n), ca)),
  A5gateway: ({ gateway }) => keepOpen(8, (n) => handshake(address(8, n), gateway)),
  A6: ({ connect }) => void sockets(connect),
};

/** Where this file is the program: attacks until it is told to stop, then tells its tally. */
if (process.send !== undefined && process.argv[2] === 'attack') {
  // On machines of their own they would take no processor from the others.
  os.setPriority(os.constants.priority.PRIORITY_LOW);
  process.once('message', ({ name, ports }: { name: string; ports: Ports }) => {
    ATTACKS[name]?.(ports);
    process.once('message', () => process.send?.(tally, () => process.exit(0)));
  });
  process.on('disconnect', () => process.exit(0));
}
