import { once } from 'node:events';
import { request } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { onOutcome, switched } from './outcome.ts';

let server: Server;
let answer: string | undefined;
beforeEach(async () => {
  server = createServer((socket) => {
    socket
      .on('error', () => {})
      .once('data', () => {
        if (answer === undefined) socket.resetAndDestroy();
        else socket.end(answer);
      });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterEach(() => void server.close());

/** Everything that is told, once the request is closed. */
async function outcomes(
  said: string | undefined,
  change: (outgoing: ReturnType<typeof request>) => void = () => {},
): Promise<unknown[]> {
  answer = said;
  const told: unknown[] = [];
  const { port } = server.address() as AddressInfo;
  const outgoing = request({ host: '127.0.0.1', port, agent: false });
  onOutcome(outgoing, {
    onResponse: (response) => told.push(response.resume().statusCode),
    onError: ({ message }) => told.push(message),
  });
  const closed = new Promise((resolve) => outgoing.once('close', resolve));
  outgoing.end();
  change(outgoing);
  await closed;
  return told;
}

const SWITCHES = 'HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n';
test.each([
  ['an answer', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', 200],
  ['an error of the connection', undefined, expect.stringMatching(/ECONNRESET|socket hang up/)],
  ['no HTTP', 'garbage\r\n\r\n', expect.stringMatching(/Parse Error/)],
  ['another protocol', SWITCHES, 'the answer was HTTP 101, and no other protocol was asked for'],
])('of a request one thing comes: %s', async (_name, said, expected) => {
  expect(await outcomes(said)).toEqual([expected]);
});

test('a request that is closed before it is sent has failed', async () => {
  const closing = await outcomes('', (outgoing) => void outgoing.destroy());
  expect(closing).toEqual([expect.stringMatching(/socket hang up|was closed/)]);
});

test('a request that Node only closes has failed', async () => {
  const told = await outcomes('', (outgoing) => {
    outgoing.removeAllListeners('error');
    outgoing.on('error', () => {}).destroy();
  });
  expect(told).toEqual(['the connection was closed']);
});

test('an answer below 200 is named by its status', () => {
  expect(switched().message).toMatch(/HTTP 101,/);
  expect(switched(103).message).toMatch(/HTTP 103,/);
});
