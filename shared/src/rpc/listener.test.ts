import { once } from 'node:events';
import net from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { closerOf } from './listener.ts';

let peer: net.Socket | undefined;
afterEach(() => {
  vi.useRealTimers();
  peer?.destroy();
});

/** A server with one connection, whose timers move by hand. */
async function connected(stop?: () => void) {
  const server = net.createServer((socket) => void socket.on('error', () => {}).resume());
  const close = closerOf(server, stop);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as net.AddressInfo;
  const arrived = once(server, 'connection');
  peer = net.connect({ host: '127.0.0.1', port }).on('error', () => {});
  await arrived;
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  return { server, close };
}

test('closing cuts the connections that are left after 3 s', async () => {
  const stop = vi.fn();
  const { server, close } = await connected(stop);
  const closed = close();
  expect(stop).toHaveBeenCalledOnce();
  vi.advanceTimersByTime(2_999);
  await new Promise((resolve) => setImmediate(resolve));
  expect(await connectionsOf(server)).toBe(1);
  vi.advanceTimersByTime(1);
  await closed;
});

test('closing leaves no timer behind when the connections end by themselves', async () => {
  const { close } = await connected();
  const closed = close();
  peer?.destroy();
  await closed;
  expect(vi.getTimerCount()).toBe(0);
});

const connectionsOf = (server: net.Server): Promise<number> =>
  new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
  });
