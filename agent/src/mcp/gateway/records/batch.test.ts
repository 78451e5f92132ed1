import { setImmediate } from 'node:timers/promises';
import { beforeEach, expect, test } from 'vitest';
import type { CallEvent } from '../../call-event.ts';
import { RecordBatch } from './batch.ts';

let written: string[][];
let lost: (readonly string[])[];
let isFull: boolean;
let batch: RecordBatch;
beforeEach(() => {
  written = [];
  lost = [];
  isFull = false;
  const record = (...events: readonly CallEvent[]): void => {
    if (isFull) throw new Error('ENOSPC');
    written.push(events.map(({ id }) => id));
  };
  batch = new RecordBatch(record, (_error, ids) => void lost.push(ids));
});

const event = (id: string) => ({ id }) as CallEvent;
const decide = (id: string): Promise<string> => batch.decide(() => ({ event: event(id), value: id }));

test('decisions and answers of one turn share a write', async () => {
  const decided = [decide('a'), decide('b')];
  batch.answer({ id: 'c', event: () => event('c') });
  expect(written).toEqual([]);
  expect(await Promise.all(decided)).toEqual(['a', 'b']);
  expect(written).toEqual([['a', 'b', 'c']]);
  await decide('d');
  expect(written.slice(1)).toEqual([['d']]);
});

test('a decision waits for its record', async () => {
  const order: string[] = [];
  const done = batch
    .decide(() => {
      order.push(`decided after ${written.length} writes`);
      return { event: event('a'), value: undefined };
    })
    .then(() => order.push(`went on after ${written.length}`));
  order.push('asked');
  await done;
  expect(order).toEqual(['asked', 'decided after 0 writes', 'went on after 1']);
});

test('a write that fails fails every decision of the turn, and the answers are lost', async () => {
  isFull = true;
  const decided = [decide('a'), decide('b')];
  batch.answer({ id: 'c', event: () => event('c') });
  for (const each of await Promise.allSettled(decided))
    expect(each).toMatchObject({ status: 'rejected', reason: { message: 'ENOSPC' } });
  expect(lost).toEqual([['c']]);
  isFull = false;
  expect(await decide('d')).toBe('d');
});

test('a decision that throws fails alone', async () => {
  const failing = batch.decide(() => {
    throw new Error('refused');
  });
  const passing = decide('a');
  await expect(failing).rejects.toThrow('refused');
  expect(await passing).toBe('a');
  expect(written).toEqual([['a']]);
});

test('a decision that is on record needs no write', async () => {
  isFull = true;
  expect(await batch.decide(() => ({ event: undefined, value: 'denied' }))).toBe('denied');
  expect(lost).toEqual([]);
});

test('flush writes what waits, and the turn has nothing left to write', async () => {
  const decided = decide('a');
  batch.flush();
  expect(written).toEqual([['a']]);
  await setImmediate();
  expect([await decided, written]).toEqual(['a', [['a']]]);
});
