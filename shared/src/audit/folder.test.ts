import { expect, test } from 'vitest';
import { clockOf } from '../ground/clock.ts';
import { type Folded, Folder } from './folder.ts';

interface Event {
  readonly id: string;
}

function world(
  options: { inFull?: number; maxSources?: number; maxKinds?: number; fails?: () => boolean } = {},
) {
  let nowMs = Date.parse('2026-01-01T00:00:00Z');
  const sleepers: (() => void)[] = [];
  const clock = clockOf({
    wall: () => nowMs,
    monotonic: () => nowMs,
    sleep: () => new Promise<void>((resolve) => sleepers.push(resolve)),
  });
  const written: [id: string, count: number | undefined][] = [];
  const lost: Folded[] = [];
  const folder = new Folder<Event>({
    clock,
    write: ({ id }, folded) => {
      if (options.fails?.()) throw new Error('disk full');
      written.push([id, folded?.count]);
    },
    onLost: (_error, folded) => lost.push(folded),
    ...options,
  });
  let made = 0;
  const add = (source: string, kind: string): string => {
    made += 1;
    return folder.add({ source, kind }, { id: `${made}` });
  };
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 15_000) {
      nowMs += 15_000;
      for (const wake of sleepers.splice(0)) wake();
      for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
    }
  };
  return { folder, add, pass, written, lost, sleepers };
}

test('the first is written at once, the others are one record a window with their number', async () => {
  const { add, pass, written } = world();
  expect(add('a', 'denied')).toBe('1');
  for (let each = 0; each < 1_000; each += 1) expect(add('a', 'denied')).toBe('1');
  expect(written).toEqual([['1', undefined]]);
  await pass(60_000);
  expect(written).toEqual([
    ['1', undefined],
    ['1001', 1_000],
  ]);
  for (let each = 0; each < 5; each += 1) add('a', 'denied');
  await pass(60_000);
  expect(written.at(-1)).toEqual(['1006', 5]);
  expect(written).toHaveLength(3);
});

test('after a quiet window the next is written in full again, and no timer is left', async () => {
  const { add, pass, written, sleepers } = world();
  add('a', 'denied');
  await pass(120_000);
  expect(sleepers).toHaveLength(0);
  add('a', 'denied');
  expect(written).toEqual([
    ['1', undefined],
    ['2', undefined],
  ]);
});

test('another source and another kind have windows of their own, whatever the first one varies', () => {
  const { add, written } = world({ maxKinds: 3 });
  for (let each = 0; each < 100; each += 1) add('a', `kind ${each}`);
  // Three kinds, and one for all others.
  expect(written).toHaveLength(4);
  add('b', 'kind 99');
  expect(written).toHaveLength(5);
});

test('sources beyond the limit share one', () => {
  const { add, written } = world({ maxSources: 2 });
  for (let each = 0; each < 100; each += 1) add(`address ${each}`, 'no certificate');
  expect(written).toHaveLength(3);
});

test('close writes what was counted', () => {
  const { folder, add, written } = world();
  for (let each = 0; each < 3; each += 1) add('a', 'denied');
  folder.close();
  expect(written).toEqual([
    ['1', undefined],
    ['3', 2],
  ]);
});

test('a first record that cannot be written refuses, and the next is first again; a count that cannot is reported', () => {
  let full = true;
  const { folder, add, written, lost } = world({ fails: () => full });
  expect(() => add('a', 'denied')).toThrow('disk full');
  full = false;
  add('a', 'denied');
  add('a', 'denied');
  full = true;
  folder.close();
  expect(written).toHaveLength(1);
  expect(lost).toMatchObject([{ count: 1 }]);
});

test('so many as are said are written in full', () => {
  const { folder, add, written } = world({ inFull: 3 });
  for (let each = 0; each < 5; each += 1) add('a', 'denied');
  folder.close();
  expect(written).toEqual([
    ['1', undefined],
    ['2', undefined],
    ['3', undefined],
    ['5', 2],
  ]);
});
