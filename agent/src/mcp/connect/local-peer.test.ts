import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { tcpOwnerOf } from '@chancery/shared/unix/socket-owner.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { type LocalPeers, tcpCallers } from './local-peer.ts';

let server: Server;
beforeEach(async () => {
  server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(() => server.close());

const port = (): number => (server.address() as AddressInfo).port;
const own = process.getuid?.() ?? 0;
const unknown = expect.objectContaining({ code: 'peer_unknown' });

const about = (uid: number): LocalPeers => ({ uid, platform: 'linux', log: silentLog });
const callers = (uid: number) => tcpCallers(about(uid));

async function accepted(host: string): Promise<{ client: Socket; socket: Socket }> {
  const client = connect({ port: port(), host });
  const [socket] = (await once(server, 'connection')) as [Socket];
  socket.on('error', () => {});
  return { client, socket };
}

test.each([
  ['IPv4', '127.0.0.1'],
  ['IPv6 with mapped addresses, as a JVM makes it', '::ffff:127.0.0.1'],
])('finds the owner of a socket of %s', async (_name, host) => {
  const { client, socket } = await accepted(host);
  expect(tcpOwnerOf(socket)).toBe(own);
  callers(own)(socket);
  expect(() => callers(own + 1)(socket)).toThrow(expect.objectContaining({ code: 'peer_uid' }));
  client.destroy();
  socket.destroy();
});

test('M34 a socket that its owner has closed is nobody’s, though the kernel says uid 0', async () => {
  const { client, socket } = await accepted('127.0.0.1');
  client.destroy();
  await once(client, 'close');
  expect(() => tcpOwnerOf(socket)).toThrow(unknown);
  socket.destroy();
});

test.runIf(own === 0)('M34 another user that closes its socket at once is not taken for root', async () => {
  const script = `require('net').connect(${port()}, '127.0.0.1', function () { this.end('x', () => process.exit()); })`;
  const child = spawn(process.execPath, ['-e', script], {
    uid: 65_534,
    gid: 65_534,
    stdio: 'ignore',
    cwd: '/',
  });
  const [socket] = (await once(server, 'connection')) as [Socket];
  if (child.exitCode === null) await once(child, 'exit');
  expect(() => callers(0)(socket)).toThrow(unknown);
  socket.destroy();
});

test('a caller that has ended its sending still has its user, until it closes', async () => {
  const { client, socket } = await accepted('127.0.0.1');
  client.end('the whole request');
  socket.resume();
  await once(socket, 'end');
  expect(tcpOwnerOf(socket)).toBe(own);
  client.destroy();
  await once(client, 'close');
  expect(() => tcpOwnerOf(socket)).toThrow(unknown);
  socket.destroy();
});

test('a connection that is not there, and a closed one, have no owner', () => {
  const ends = { remoteAddress: '127.0.0.1', remotePort: 1, localAddress: '127.0.0.1', localPort: port() };
  expect(() => tcpOwnerOf(ends)).toThrow(unknown);
  expect(() => tcpOwnerOf({ ...ends, remotePort: undefined })).toThrow(unknown);
  expect(() => tcpOwnerOf({ ...ends, remoteAddress: undefined })).toThrow(unknown);
});

test('asking opens one descriptor, however often', async () => {
  const { client, socket } = await accepted('127.0.0.1');
  tcpOwnerOf(socket);
  const count = () =>
    execFileSync('ls', [`/proc/${process.pid}/fd`])
      .toString()
      .split('\n').length;
  const before = count();
  for (let i = 0; i < 200; i += 1) tcpOwnerOf(socket);
  // Other parts of the runner open descriptors meanwhile.
  expect(count()).toBeLessThan(before + 100);
  client.destroy();
  socket.destroy();
});

test('M206 a port is not opened where the kernel cannot be asked for its callers', () => {
  const blind = { ...about(own), namesPeers: false };
  expect(() => tcpCallers(blind)).toThrow(refusal('unavailable', /a port needs koffi and glibc/));
  expect(() => tcpCallers({ ...blind, platform: 'darwin' })).not.toThrow();
});
