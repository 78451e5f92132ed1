import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test, vi } from 'vitest';
import { noticeLoss } from './tcp.ts';

/** A network of its own, whose loopback can be taken down under an open connection. */
const ALONE = ['unshare', '-rn', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'] as const;
const [program, ...first] = ALONE;
const possible = spawnSync(program, [...first, 'true']).status === 0;
if (!possible) console.log('skipped: no network namespace with `unshare -rn` and `ip`');

/** Says `began`, then how the connection ends; or `open` where it does not within ten times the bound. */
const script = (peer: string, then: string): string => `
import { execFileSync } from 'node:child_process';
import net from 'node:net';
import { noticeLoss } from './tcp.ts';
const server = net.createServer((socket) => socket.on('error', () => {}).${peer}());
server.listen(0, '127.0.0.1', () => {
  const socket = net.connect(server.address().port, '127.0.0.1', () => {
    noticeLoss(socket, { silentMs: 500, lookMs: 100 });
    ${then}
    setTimeout(() => say('open'), 3000);
  });
  const say = (how) => { console.log(how); process.exit(); };
  socket.on('error', ({ code }) => say(code));
});`;

const ends = async (peer: string, then: string): Promise<string> => {
  const args = [...first, process.execPath, '--input-type=module', '-e', script(peer, then)];
  const options = { cwd: import.meta.dirname, timeout: 60_000 };
  return (await promisify(execFile)(program, args, options)).stdout.trim();
};

const DOWN = "execFileSync('ip', ['link', 'set', 'lo', 'down']);";

test.skipIf(!possible).each([
  ['the network drops bytes under way', 'resume', `${DOWN} socket.write('x');`, 'ETIMEDOUT'],
  [
    'the network drops questions to a peer that does not read',
    'pause',
    `socket.write(Buffer.alloc(1 << 26)); setTimeout(() => { ${DOWN} }, 500);`,
    'ETIMEDOUT',
  ],
  ['the other side acknowledges and does not read', 'pause', 'socket.write(Buffer.alloc(1 << 26));', 'open'],
  ['nothing is under way', 'resume', DOWN, 'open'],
  ['bytes arrive', 'resume', "setInterval(() => socket.write('x'), 5);", 'open'],
] as const)('I96 where %s, a connection is given up only if it is lost', async (_, peer, then, end) => {
  expect(await ends(peer, then)).toBe(end);
});

test('a connection is watched once, and not at all if the kernel has no information about it', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const socket = new Socket();
  noticeLoss(socket, { silentMs: 500, lookMs: 100 });
  noticeLoss(socket, { silentMs: 500, lookMs: 100 });
  expect(vi.getTimerCount()).toBe(1);
  await vi.advanceTimersByTimeAsync(100);
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

test('of a local socket, which is not TCP, nothing is asked twice', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tcp-'));
  const server = createServer().listen(join(folder, 's'));
  await once(server, 'listening');
  const socket = connect(join(folder, 's'));
  await once(socket, 'connect');
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  noticeLoss(socket, { silentMs: 500, lookMs: 100 });
  await vi.advanceTimersByTimeAsync(100);
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
  socket.destroy();
  server.close();
  rmSync(folder, { recursive: true });
});
