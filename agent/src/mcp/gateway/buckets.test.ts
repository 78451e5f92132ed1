import { expect, test } from 'vitest';
import { type BucketLimits, Buckets } from './buckets.ts';

function buckets(limits?: BucketLimits) {
  let nowMs = 1_000;
  const table = new Buckets(() => nowMs, limits);
  const after = (ms: number): void => {
    nowMs += ms;
  };
  /** How many of `times` pass. */
  const pass = (times: number, caller = 'a', name = 'x', pace = { perSecond: 1, burst: 3 }): number => {
    let passed = 0;
    for (let each = 0; each < times; each += 1) {
      const bucket = { caller, name, pace };
      if (table.waitMs(bucket) > 0) continue;
      table.take(bucket);
      passed += 1;
    }
    return passed;
  };
  return { table, after, pass };
}
const slow = { perSecond: 0.5, burst: 2 };

test('a new bucket is full, and fills with the time to its burst and no further', () => {
  const { pass, after, table } = buckets();
  expect(pass(9)).toBe(3);
  after(999);
  expect(pass(9)).toBe(0);
  expect(table.waitMs({ caller: 'a', name: 'x', pace: { perSecond: 1, burst: 3 } })).toBe(1);
  after(1);
  expect(pass(9)).toBe(1);
  after(3_600_000);
  expect(pass(9)).toBe(3);
});

test('parts of a token add up', () => {
  const { pass, after } = buckets();
  expect(pass(9)).toBe(3);
  for (let each = 0; each < 10; each += 1) {
    expect(pass(1)).toBe(0);
    after(100);
  }
  expect(pass(9)).toBe(1);
});

test('each caller and each name has its own', () => {
  const { pass } = buckets();
  expect([pass(9), pass(9, 'b'), pass(9, 'a', 'y'), pass(9)]).toEqual([3, 3, 3, 0]);
});

test('what was earned before a change of pace was earned at the pace of then', () => {
  const { pass, after } = buckets();
  expect(pass(9, 'a', 'x', slow)).toBe(2);
  after(2_000);
  expect(pass(9, 'a', 'x', { perSecond: 100, burst: 100 })).toBe(1);
});

test('a smaller burst counts at once', () => {
  const { pass } = buckets();
  expect(pass(1, 'a', 'x', { perSecond: 1, burst: 90 })).toBe(1);
  expect(pass(9, 'a', 'x', slow)).toBe(2);
});

test('above its bound a caller has no more buckets until one of them is full, and others have', () => {
  const { pass, after, table } = buckets({ max: 10, maxPerCaller: 2, reserved: 0 });
  expect([pass(9, 'a', 'x'), pass(1, 'a', 'y'), pass(9, 'a', 'z')]).toEqual([3, 1, 0]);
  expect(table.waitMs({ caller: 'a', name: 'z', pace: slow })).toBe(1_000);
  expect(pass(9, 'b', 'z')).toBe(3);
  // y is full again; x, which is not, is not forgotten for it.
  after(1_000);
  expect([pass(9, 'a', 'z'), pass(9, 'a', 'x')]).toEqual([3, 1]);
  expect(table.size).toBe(3);
});

test('above the bound of all nobody has another one, until one is full; it looks once in a second', () => {
  const { pass, after, table } = buckets({ max: 2, maxPerCaller: 2, reserved: 0 });
  expect([pass(1, 'a'), pass(9, 'b'), pass(9, 'c')]).toEqual([1, 3, 0]);
  after(999);
  expect(pass(9, 'c')).toBe(0);
  after(1);
  expect(pass(9, 'c')).toBe(3);
  expect([table.size, pass(9, 'b')]).toEqual([2, 1]);
});

test('where others hold all, a caller has room for those that are reserved', () => {
  const { pass } = buckets({ max: 2, maxPerCaller: 3, reserved: 1 });
  expect([pass(1, 'a', 'x'), pass(1, 'a', 'y'), pass(1, 'a', 'z')]).toEqual([1, 1, 0]);
  expect([pass(9, 'b', 'x'), pass(9, 'b', 'y'), pass(9, 'b', 'x')]).toEqual([3, 0, 0]);
});
