import type { JsonObject } from '@chancery/shared/ground/json.ts';
import type { Notification, Request } from '@chancery/shared/mcp/message.ts';
import { beforeEach, expect, test } from 'vitest';
import type { Back } from '../upstream.ts';
import { OpenRequests } from './open-requests.ts';

let requests: OpenRequests;
beforeEach(() => {
  requests = new OpenRequests();
});

const back = {} as Back;
const request = (id: number | string, meta: JsonObject = {}): Request => ({
  kind: 'request',
  id,
  method: 'tools/call',
  params: { _meta: meta },
});

test('of the requests that nobody waits for, the newest 1,000 are remembered', () => {
  for (let id = 0; id <= 1_000; id += 1) requests.leave(id);
  expect([0, 1, 1_000].map((id) => requests.isOwed(id))).toEqual([false, true, true]);
});

test('a request keeps its id and its progress token until it is answered', () => {
  const { id, waiting } = requests.open(request(7, { progressToken: 'p' }), back, false);
  expect([id, waiting.token, requests.idle]).toEqual([7, 'p', false]);
  expect([requests.byToken('p'), requests.get(7)]).toEqual([waiting, waiting]);
  expect(requests.take(7)).toBe(waiting);
  expect([requests.byToken('p'), requests.take(7), requests.idle]).toEqual([undefined, undefined, true]);
});

test('the requests of several clients are told apart by ids and tokens of our own', () => {
  const [one, two] = [1, 2].map(() => requests.open(request(7, { progressToken: 'p' }), back, true));
  expect([one?.id, two?.id]).toEqual([1, 2]);
  expect([1, 2].map((token) => requests.byToken(token))).toEqual([one?.waiting, two?.waiting]);
  expect(requests.namedBy(7).map(([id]) => id)).toEqual([1, 2]);
});

test('an id that is used again while its answer is owed goes on under another, with its token', () => {
  requests.open(request(7, { progressToken: 'p' }), back, false);
  requests.leave(7);
  const { id, waiting } = requests.open(request(7, { progressToken: 'p' }), back, false);
  expect(id).not.toBe(7);
  expect([waiting.id, waiting.progressToken, waiting.token]).toEqual([7, 'p', id]);
  // The late answer to the first one is nobody's, and once it is there the id is free.
  expect(requests.take(7)).toBeUndefined();
  expect(requests.open(request(7), back, false).id).toBe(7);
});

test.each<[string, number | string, number | string, boolean]>([
  ['a number that comes back as text', 7, '7', true],
  ['text that comes back as text', '7', '7', true],
  ['text that comes back as a number', '7', 7, false],
  ['another spelling of the number', 7, '07', false],
])('an answer is taken by its id: %s', (_name, asked, answered, taken) => {
  requests.open(request(asked), back, false);
  expect(requests.take(answered) !== undefined).toBe(taken);
});

test('log messages go to the requests that asked for their level', () => {
  const LEVEL = 'io.modelcontextprotocol/logLevel';
  const wanting = ['debug', 'error'].map((level) =>
    requests.open(request(1, { [LEVEL]: level }), back, true),
  );
  requests.open(request(1), back, true);
  const log = (level: string): Notification => ({
    kind: 'notification',
    method: 'notifications/message',
    params: { level },
  });
  const [all, errors] = wanting.map(({ waiting }) => waiting);
  expect(requests.askersOf(log('info'))).toEqual([all]);
  expect(requests.askersOf(log('alert'))).toEqual([all, errors]);
});

test('a process that ends leaves all that waited', () => {
  const { waiting } = requests.open(request(7, { progressToken: 'p' }), back, false);
  expect(requests.takeAll()).toEqual([waiting]);
  expect([requests.idle, requests.byToken('p')]).toEqual([true, undefined]);
});

test.each<[string, number | string]>([
  ['its id', 5],
  ['its id as text', '5'],
])('a request that fails by %s owes its answer until that can be read', (_name, named) => {
  const { id, waiting } = requests.open(request(5), back, false);
  expect(id).toBe(5);
  expect([requests.fail(named), requests.fail(named)]).toEqual([waiting, undefined]);
  expect(requests.open(request(5), back, false).id).not.toBe(5);
  expect(requests.take(5)).toBeUndefined();
  expect(requests.open(request(5), back, false).id).toBe(5);
});

test('what fails no request is owed by none', () => {
  expect(requests.fail(9)).toBeUndefined();
  expect(requests.isOwed(9)).toBe(false);
});
