import type { Message } from '@chancery/shared/mcp/message.ts';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import {
  type AnswerServer,
  breakingOff,
  saying,
  startAnswers,
} from '../../../../../test/kit/http/answered.ts';
import { refusal } from '../../../../../test/kit/refusal.ts';
import { readStream } from './stream.ts';

let answers: AnswerServer;
let messages: Message[];
let places: unknown[];
let skipped: string[];
/** Whether the client takes more, and what tells that it does again. */
let takes: boolean;
let resume: (() => void) | undefined;
const sink = {
  onMessage: (message: Message): boolean => messages.push(message) > 0 && takes,
  onPlace: (...place: unknown[]): void => void places.push(place),
  onSkipped: (what: string): void => void skipped.push(what),
  onDrain(listener: () => void): void {
    resume = listener;
  },
};
const reset = (): void => {
  [messages, places, skipped] = [[], [], []];
  [takes, resume] = [true, undefined];
};
beforeAll(async () => {
  answers = await startAnswers();
  reset();
});
afterEach(reset);
afterAll(() => answers.close());

const STREAM = 'text/event-stream';
const note = { jsonrpc: '2.0', method: 'notifications/x' };
const data = (message: object): string => `data: ${JSON.stringify(message)}\n\n`;
const read = async (body: string): Promise<void> =>
  readStream(await answers.answer(saying(STREAM, body)), sink);

test('each message is passed on, and events of another type are not', async () => {
  await read(`${data(note)}event: endpoint\n${data({ ...note, method: 'other' })}: comment\n\n`);
  expect(messages).toMatchObject([{ kind: 'notification', method: 'notifications/x' }]);
  expect([places, skipped]).toEqual([[], []]);
});

test.each([
  ['an id', 'id: e1\ndata:\n\n', ['e1', undefined]],
  ['a time to wait', 'retry: 5\n\n', [undefined, 5]],
  ['both, with a message', `id: e1\nretry: 5\n${data(note)}`, ['e1', 5]],
])('an event with %s is a place', async (_name, body, place) => {
  await read(body);
  expect(places).toEqual([place]);
});

test('after a pause an event may come in many pieces', async () => {
  takes = false;
  const piece = Promise.withResolvers<void>();
  const reading = readStream(
    await answers.answer((_req, res) => {
      res.writeHead(200, { 'content-type': STREAM }).write(data(note));
      piece.promise.then(() => {
        res.write(data(note).slice(0, 8));
        setTimeout(() => res.end(data(note).slice(8)), 20);
      });
    }),
    sink,
  );
  await expect.poll(() => resume !== undefined).toBe(true);
  takes = true;
  resume?.();
  piece.resolve();
  await reading;
  expect(messages).toHaveLength(2);
});

test('an answer that cannot be read fails its request, and the stream goes on', async () => {
  await read(data({ jsonrpc: '2.0', id: 7, result: 'text' }) + data(note));
  const message = expect.stringMatching(/could not be read: the result is not an object/);
  expect(messages).toMatchObject([
    { id: 7, error: { code: -31502, message } },
    { method: 'notifications/x' },
  ]);
  expect(skipped).toEqual([]);
});

test('what cannot be read and answers nothing is skipped with its reason', async () => {
  await read('data: no JSON\n\n');
  expect([messages, skipped]).toEqual([[], [expect.stringMatching(/could not be read/)]]);
});

test('an answer that is too large fails its request', async () => {
  const text = 'x'.repeat(16 * 1024 * 1024);
  await read(data({ jsonrpc: '2.0', id: 7, result: { text } }) + data(note));
  const message = expect.stringMatching(/was larger than 16 MiB/);
  expect(messages).toMatchObject([{ id: 7, error: { message } }, { method: 'notifications/x' }]);
});

test('a client that has enough to read gets no more until it has read', async () => {
  takes = false;
  const go = Promise.withResolvers<void>();
  const response = await answers.answer((_req, res) => {
    res.writeHead(200, { 'content-type': STREAM }).write(data(note));
    go.promise.then(() => res.end(data(note)));
  });
  const over = readStream(response, sink);
  await expect.poll(() => resume !== undefined).toBe(true);
  go.resolve();
  await expect.poll(() => response.readableLength).toBeGreaterThan(0);
  expect(messages).toHaveLength(1);
  takes = true;
  resume?.();
  await over;
  expect(messages).toHaveLength(2);
});

test('a stream that breaks off is refused, after its messages', async () => {
  const response = await answers.answer(breakingOff(STREAM, data(note)));
  const says = /^the connection to the gateway ended before the answer; the MCP server may have done/;
  await expect(readStream(response, sink)).rejects.toThrow(refusal('mcp_outcome', says));
  expect(messages).toHaveLength(1);
});
