import { Socket } from 'node:net';
import { beforeEach, expect, test } from 'vitest';
import { IdleConnections } from './idle-connections.ts';

let idle: IdleConnections;
let sockets: Socket[];
beforeEach(() => {
  idle = new IdleConnections(2);
  sockets = [new Socket(), new Socket(), new Socket(), new Socket()];
});
const add = (count: number): void => {
  for (const socket of sockets.slice(0, count)) idle.add(socket);
};
const closed = (): readonly number[] => sockets.flatMap((socket, n) => (socket.destroyed ? [n] : []));
const at = (n: number): Socket => sockets[n] ?? new Socket();

test('M61 the connection that has been idle longest gives way', () => {
  add(4);
  expect(closed()).toEqual([0, 1]);
});

test('one that was used is the last to give way', () => {
  add(2);
  idle.ask(at(0))();
  idle.add(at(2));
  expect(closed()).toEqual([1]);
});

test('one with an open request never does, however many came before it', () => {
  add(1);
  const [first, second] = [idle.ask(at(0)), idle.ask(at(0))];
  for (const n of [1, 2, 3]) idle.add(at(n));
  first();
  expect(closed()).toEqual([1]);
  second();
  expect(closed()).toEqual([1, 2]);
});

test('one that has closed takes no place', async () => {
  add(2);
  at(0).destroy();
  await new Promise((resolve) => setImmediate(resolve));
  idle.add(at(2));
  expect(closed()).toEqual([0]);
});
