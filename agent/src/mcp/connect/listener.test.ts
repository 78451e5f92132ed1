import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { openFilesLimit } from '@chancery/shared/door/descriptors.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { expect, test } from 'vitest';
import type { Dialler } from './dial.ts';
import { endFailed, startListener } from './listener.ts';

test.each([
  ['M61 a connection on which nothing was asked ends without an answer', '', ''],
  ['half a request has its answer', 'POST /mcp HTTP/1.1\r\nhost:', 'HTTP/1.1 408 Request Timeout'],
  ['what is no HTTP has its answer', 'garbage\r\n\r\n', 'HTTP/1.1 400 Bad Request'],
])('%s', async (_name, written, expected) => {
  const server = createServer({ connectionsCheckingInterval: 20, headersTimeout: 50, requestTimeout: 50 });
  server.on('clientError', endFailed).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  let text = '';
  socket
    .on('error', () => {})
    .on('data', (chunk) => {
      text += chunk;
    });
  socket.write(written);
  await once(socket, 'close');
  expect(text.split('\r\n')[0]).toBe(expected);
  server.close();
});

test('M61 of more idle connections than there may be, the one that has been idle longest is closed', async () => {
  const listener = await startListener({
    local: { kind: 'tcp', port: 0 },
    dialler: {} as unknown as Dialler,
    uid: process.getuid?.() ?? 0,
    platform: process.platform,
    clock: systemClock,
    log: silentLog,
    maxRequestBytes: 1024,
  });
  const most = Math.min(256, Math.floor(openFilesLimit() / 4));
  const closed: number[] = [];
  const sockets: Socket[] = [];
  for (let n = 0; n < most + 2; n += 1) {
    const socket = connect(listener.port ?? 0, '127.0.0.1');
    socket.on('error', () => {}).on('close', () => closed.push(n));
    sockets.push(socket);
    await once(socket, 'connect');
  }
  await expect.poll(() => closed.length).toBe(2);
  expect(closed.toSorted((a, b) => a - b)).toEqual([0, 1]);
  for (const socket of sockets) socket.destroy();
  await listener.close();
});
