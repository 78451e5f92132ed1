import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  ensureSameProcess,
  holdProcess,
  openPeer,
  peerOf,
  pidfdOf,
  startTimeOf,
} from './peer-credentials.ts';

let dir: string;
let server: Server;
let child: ChildProcess | undefined;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'peer-'));
  server = createServer({ pauseOnConnect: true });
  await new Promise<void>((resolve) => server.listen(join(dir, 'sock'), resolve));
});
afterEach(async () => {
  child?.kill('SIGKILL');
  child = undefined;
  server.close();
  await rm(dir, { recursive: true });
});

/** Another process connects and stays. */
async function childSocket(): Promise<Socket> {
  const script = `require('net').connect(${JSON.stringify(join(dir, 'sock'))}); setInterval(() => {}, 1e6)`;
  child = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
  const [socket] = (await once(server, 'connection')) as [Socket];
  socket.on('error', () => {});
  return socket;
}

test('names the process that connected, and holds it', async () => {
  const socket = await childSocket();
  const peer = openPeer(socket);
  expect(peer).toMatchObject({ pid: child?.pid, uid: process.getuid?.(), gid: process.getgid?.() });
  peer.ensureStillThere();
  peer.close();
  peer.close();
  expect(() => peer.ensureStillThere()).toThrow('no longer held');
  socket.destroy();
});

test('a signal during the check is not taken for the exit of the peer', async () => {
  // Of so many checks, dozens are interrupted by the profiler's signal.
  const script = `
    import { connect, createServer } from 'node:net';
    const { openPeer } = await import(${JSON.stringify(new URL('./peer-credentials.ts', import.meta.url))});
    createServer({ pauseOnConnect: true }, (socket) => {
      const peer = openPeer(socket);
      for (let look = 0; look < 40_000; look += 1) peer.ensureStillThere();
      process.exit(0);
    }).listen('own', () => connect('own'));`;
  const profiled = ['--cpu-prof', '--cpu-prof-interval=100', '--input-type=module', '-e', script];
  child = spawn(process.execPath, profiled, { cwd: dir, stdio: 'ignore' });
  expect(await once(child, 'exit')).toEqual([0, null]);
});

test('I27 says that a process has exited', async () => {
  const socket = await childSocket();
  const peer = openPeer(socket);
  const credentials = peerOf(socket);
  const exited = once(child as ChildProcess, 'exit');
  child?.kill('SIGKILL');
  await exited;
  expect(() => peer.ensureStillThere()).toThrow(`process ${peer.pid} has exited`);
  expect(() => openPeer(socket)).toThrow('has exited');
  expect(() => holdProcess(credentials, undefined)).toThrow('has exited');
  peer.close();
  socket.destroy();
});

test('I27 without a pidfd, the open directory of the process shows its exit', async () => {
  const socket = await childSocket();
  const peer = holdProcess(peerOf(socket), undefined);
  peer.ensureStillThere();
  const exited = once(child as ChildProcess, 'exit');
  child?.kill('SIGKILL');
  await exited;
  expect(() => peer.ensureStillThere()).toThrow('the peer has exited');
  peer.close();
  socket.destroy();
});

test('every descriptor is closed, whether the peer was held or had exited', async () => {
  const socket = await childSocket();
  openPeer(socket).close();
  const before = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 5; i++) openPeer(socket).close();
  expect(readdirSync('/proc/self/fd')).toHaveLength(before);
  const exited = once(child as ChildProcess, 'exit');
  const credentials = peerOf(socket);
  child?.kill('SIGSTOP');
  const spent = openSync('/dev/null', 'r');
  closeSync(spent);
  expect(() => holdProcess(credentials, spent)).toThrow('has exited');
  child?.kill('SIGKILL');
  await exited;
  for (let i = 0; i < 5; i++) expect(() => openPeer(socket)).toThrow('has exited');
  expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before);
  socket.destroy();
});

test('a TCP socket has no peer credentials', async () => {
  const tcp = createServer();
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
  const { port } = tcp.address() as { port: number };
  const client = connect({ port, host: '127.0.0.1' });
  const [socket] = (await once(tcp, 'connection')) as [Socket];
  expect(() => peerOf(socket)).toThrow(expect.objectContaining({ code: 'peer_unknown' }));
  client.destroy();
  socket.destroy();
  tcp.close();
});

test('a descriptor that is not a socket has no peer', () => {
  const fd = openSync('/dev/null', 'r');
  expect(() => peerOf({ _handle: { fd } } as unknown as Socket)).toThrow('the kernel names no peer');
  closeSync(fd);
});

test('I27 if a kernel with SO_PEERPIDFD gives no pidfd, the peer has exited', () => {
  const fd = openSync('/dev/null', 'r');
  expect(() => pidfdOf(fd, 42)).toThrow(expect.objectContaining({ code: 'peer_gone' }));
  closeSync(fd);
});

const first = { startTime: '777', owner: 1000 };
test.each([
  {
    name: 'another process under the same pid',
    now: { ...first, startTime: '778' },
    says: 'names another process now',
  },
  { name: 'a process that became another user', now: { ...first, owner: 0 }, says: 'has changed its owner' },
])('I27 refuses $name', ({ now, says }) => {
  ensureSameProcess(42, first, { ...first });
  expect(() => ensureSameProcess(42, first, now)).toThrow(expect.objectContaining({ code: 'peer_gone' }));
  expect(() => ensureSameProcess(42, first, now)).toThrow(says);
});

test('a closed socket has no peer', async () => {
  const socket = await childSocket();
  socket.destroy();
  expect(() => peerOf(socket)).toThrow('the socket is closed');
});

test('a closed pidfd does not confirm a peer', async () => {
  const socket = await childSocket();
  const fd = openSync('/dev/null', 'r');
  closeSync(fd);
  expect(() => holdProcess(peerOf(socket), fd)).toThrow('has exited');
  socket.destroy();
});

test.each([
  { stat: '1 (a) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0', startTime: '777' },
  { stat: '1 (a) b) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 778 0', startTime: '778' },
])('reads the start time behind any command name', ({ stat, startTime }) => {
  expect(startTimeOf(stat)).toBe(startTime);
});

test('refuses a stat without a start time', () => {
  expect(() => startTimeOf('1 (a) S 1')).toThrow('no start time');
});
