import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect, test } from 'vitest';
import { endFailed } from './listener.ts';

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
