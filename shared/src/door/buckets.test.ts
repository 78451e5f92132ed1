import { beforeEach, describe, expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { Buckets } from './buckets.ts';

const MAX_KEYS = 10_000;
const fast = (key: string) => refusal('rate', new RegExp(`^${key} asks faster than allowed$`));

let clock: ManualClock;
let buckets: Buckets;
beforeEach(() => {
  clock = new ManualClock(NOW);
  buckets = new Buckets({ perSecond: 1, burst: 10 }, clock);
});
const spend = (key: string, tokens: number) => buckets.spend(key, 'asks', tokens);
const drain = (key: string): void => {
  spend(key, 10);
  expect(() => spend(key, 1)).toThrow(fast(key));
};

test('a clock that is set back takes no tokens, and time counts from there', () => {
  spend('a', 5);
  clock.jump(after(-60));
  spend('a', 5);
  clock.jump(after(-59));
  spend('a', 1);
  expect(() => spend('a', 1)).toThrow(fast('a'));
});

describe('with ten thousand keys, for one more', () => {
  test('the full buckets are forgotten, and if there are any, no others', () => {
    drain('empty');
    for (let n = 1; n < MAX_KEYS; n += 1) spend(`${n}`, 1);
    clock.jump(after(1));
    spend('one more', 1);
    expect(() => spend('empty', 2)).toThrow(fast('empty'));
    spend('empty', 1);
  });

  test('a tenth of the buckets is forgotten, the fullest first, if none is full', () => {
    drain('empty');
    for (let n = 1; n < MAX_KEYS; n += 1) spend(`${n}`, n <= 1_000 ? 1 : 2);
    spend('one more', 1);
    expect(() => spend('empty', 1)).toThrow(fast('empty'));
    spend('1000', 10);
    expect(() => spend('1001', 10)).toThrow(fast('1001'));
  });
});
