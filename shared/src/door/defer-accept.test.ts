import { once } from 'node:events';
import net from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { deferAccept } from './defer-accept.ts';

const open: { destroy(): void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.destroy();
});

const linux = process.platform === 'linux';
if (!linux) console.log('skipped: only Linux leaves silent connections in the kernel');

test.skipIf(!linux)(
  'a connection that says nothing stays in the kernel, and one that speaks does not wait',
  async () => {
    const arrived: (number | undefined)[] = [];
    const server = net.createServer((socket) => {
      arrived.push(socket.remotePort);
      socket.on('error', () => {}).pipe(socket);
    });
    open.push({ destroy: () => server.close() });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    expect(deferAccept(server)).toBe(true);
    const { port } = server.address() as net.AddressInfo;
    const dial = async (): Promise<net.Socket> => {
      const socket = net.connect(port, '127.0.0.1').on('error', () => {});
      open.push(socket);
      await once(socket, 'connect');
      return socket;
    };
    const silent = await dial();
    const speaking = await dial();
    const echoed = once(speaking, 'data');
    speaking.write('hello');
    expect(String((await echoed)[0])).toBe('hello');
    expect(arrived).toEqual([speaking.localPort]);
    const late = once(silent, 'data');
    silent.write('late');
    expect(String((await late)[0])).toBe('late');
    expect(arrived).toEqual([speaking.localPort, silent.localPort]);
  },
);

test('a server that does not listen has nothing to leave', () => {
  expect(deferAccept(net.createServer())).toBe(false);
});
