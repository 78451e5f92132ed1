import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  afterBody,
  type PlayedGateway,
  playGateway,
} from '../../../../../test/kit/mcp/world/played-gateway.ts';
import { oneServer, type StdioRelay, startStdio } from './stdio.ts';

const MAX = 1_000;
let gateway: PlayedGateway;
let input: PassThrough;
let output: PassThrough;
let relay: StdioRelay;
let said: string;
/** Methods in the order in which they came; and requests of these methods that wait. */
let arrived: string[];
let holds: Set<string>;
let held: (() => void)[];
beforeEach(async () => {
  [said, arrived, holds, held] = ['', [], new Set(), []];
  gateway = await playGateway();
  gateway.play = afterBody((body, req, res) => {
    const json = body === '' ? undefined : JSON.parse(body);
    const method = json?.method ?? req.method;
    arrived.push(method);
    const go = (): void => politely(json, req, res);
    if (holds.has(method)) held.push(go);
    else go();
  });
  [input, output] = [new PassThrough(), new PassThrough()];
  output.on('data', (chunk) => {
    said += chunk;
  });
  const common = { log: silentLog, maxRequestBytes: MAX };
  const peer = oneServer({ dialler: gateway.dial(), clock: systemClock, ...common });
  relay = startStdio({ input, output, peer, ...common });
});
afterEach(async () => {
  for (const go of held) go();
  await relay.close();
  await gateway.close();
});

function politely(
  json: { id?: number; method?: string } | undefined,
  req: IncomingMessage,
  res: ServerResponse,
): void {
  if (req.method === 'GET')
    return void res.writeHead(200, { 'content-type': 'text/event-stream' }).write(':\n\n');
  if (json?.id === undefined) return void res.writeHead(202).end();
  const text = json.method === 'large' ? { text: 'x'.repeat(4_000) } : {};
  const result = { protocolVersion: '2025-11-25', method: json.method, ...text };
  res.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 's' });
  res.end(JSON.stringify({ jsonrpc: '2.0', id: json.id, result }));
}
const write = (...messages: (object | string)[]): void => {
  for (const message of messages)
    input.write(
      typeof message === 'string' ? `${message}\n` : `${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`,
    );
};
const answers = () =>
  said
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));

test('each answer is one line', async () => {
  write({ id: 1, method: 'ping' });
  await expect.poll(() => said).toMatch(/\n$/);
  const result = { protocolVersion: '2025-11-25', method: 'ping' };
  expect(said).toBe(`${JSON.stringify({ jsonrpc: '2.0', id: 1, result })}\n`);
});

test('messages before a request arrive before it, and requests run concurrently', async () => {
  holds = new Set(['initialize', 'notifications/x', 'tools/call']);
  write({ id: 0, method: 'initialize', params: {} }, { method: 'notifications/x' });
  write({ id: 1, method: 'tools/call', params: { name: 'a' } }, { id: 2, method: 'ping' });
  await expect.poll(() => arrived).toEqual(['initialize']);
  held.shift()?.();
  await expect.poll(() => arrived).toEqual(['initialize', 'notifications/x']);
  expect(answers()).toMatchObject([{ id: 0 }]);
  held.shift()?.();
  // The ping does not wait for the call.
  await expect.poll(() => answers()).toMatchObject([{ id: 0 }, { id: 2 }]);
  await expect.poll(() => arrived.slice(2).toSorted()).toEqual(['ping', 'tools/call']);
});

test('the stream of the server is asked for when its client is ready, and not before', async () => {
  write(
    { id: 0, method: 'initialize', params: {} },
    { method: 'notifications/other' },
    { id: 1, method: 'ping' },
  );
  await expect.poll(() => answers()).toHaveLength(2);
  expect(arrived).not.toContain('GET');
  write({ method: 'notifications/initialized' });
  await expect.poll(() => arrived).toContain('GET');
});

describe('a line that cannot be read', () => {
  const LONG = 'x'.repeat(MAX);
  test.each<[string, string, object[]]>([
    ['no JSON', 'hello', [{ id: null, error: { code: -32700 } }]],
    [
      'JSON that is no message',
      '{"jsonrpc":"1.0","id":7,"method":"ping"}',
      [{ id: 7, error: { code: -32600 } }],
    ],
    [
      'a batch',
      '[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":2,"method":"b"}]',
      [
        { id: 1, error: { code: -32600 } },
        { id: 2, error: { code: -32600 } },
      ],
    ],
    ['a number', '7', [{ id: null, error: { code: -32600 } }]],
    [
      'too long',
      `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"text":"${LONG}"}}`,
      [{ id: 7, error: { code: -32600, message: 'the message has more than 1000 bytes' } }],
    ],
    ['too long, and no message', LONG + LONG, [{ id: null, error: { code: -32600 } }]],
  ])('is answered, and the next one is read: %s', async (_name, line, expected) => {
    write(line, { id: 'next', method: 'ping' });
    await expect.poll(() => answers().length).toBe(expected.length + 1);
    expect(answers()).toMatchObject([...expected, { id: 'next', result: {} }]);
    expect(arrived).toEqual(['ping']);
  });

  test('that asks for no answer gets none', async () => {
    write('{"jsonrpc":"2.0","method":"x","odd":1}', { id: 'next', method: 'ping' });
    await expect.poll(() => answers()).toMatchObject([{ id: 'next' }]);
  });
});

describe('the session of a client', () => {
  const ready = async (): Promise<void> => {
    write({ id: 0, method: 'initialize', params: {} }, { method: 'notifications/initialized' });
    await expect.poll(() => arrived).toContain('GET');
  };

  test.each<[string, () => void]>([
    ['closes its side', () => void input.end()],
    ['is gone', () => void input.destroy()],
    ['reads no more', () => void output.destroy(new Error('EPIPE'))],
  ])('ends with it when it %s', async (_name, leave) => {
    await ready();
    leave();
    await relay.done;
    expect(arrived.filter((method) => method === 'DELETE')).toHaveLength(1);
  });

  test('ends when it is closed', async () => {
    await ready();
    await relay.close();
    await relay.done;
    expect(arrived.at(-1)).toBe('DELETE');
  });
});

test('a client with much to read gets every answer once it reads', async () => {
  const count = 100;
  output.pause();
  for (let id = 1; id <= count; id += 1) write({ id, method: 'large' });
  await expect.poll(() => output.writableNeedDrain).toBe(true);
  output.resume();
  await expect.poll(() => answers().length).toBe(count);
  expect(new Set(answers().map(({ id }) => id)).size).toBe(count);
});
