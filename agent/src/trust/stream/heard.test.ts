import { beforeEach, expect, test } from 'vitest';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { ensureHeardWithin, Heard } from './heard.ts';

let clock: ManualClock;
let monotonic: number;
let heard: Heard;
beforeEach(() => {
  clock = new ManualClock(NOW);
  monotonic = 1_000;
  heard = new Heard(clock, () => monotonic);
});
function pass(seconds: number): void {
  clock.jump(new Date(clock.now().getTime() + seconds * 1000));
  monotonic += seconds * 1000;
}

test('the silence begins with the process, ends with the stream, and begins anew with its end', () => {
  pass(5);
  expect(heard.silentSeconds()).toBe(5);
  heard.report(true);
  pass(100);
  expect(heard.silentSeconds()).toBe(0);
  heard.report(false);
  pass(3);
  heard.report(false);
  pass(4);
  expect(heard.silentSeconds()).toBe(7);
});

test('I126 a wall clock that is set back does not make the silence shorter, and one of a sleep makes it longer', () => {
  pass(60);
  clock.jump(after(-3600));
  expect(heard.silentSeconds()).toBe(60);
  clock.jump(after(7200));
  expect(heard.silentSeconds()).toBe(7200);
});

test('I126, M24 a gateway takes new calls until maxStaleness, and again once the CA is heard', () => {
  const ensureHeard = ensureHeardWithin(300, heard);
  pass(299);
  ensureHeard?.();
  pass(1);
  expect(ensureHeard).toThrow(
    refusal('ca_unheard', /^the CA was not heard for 300 s, and maxStaleness is 300 s$/),
  );
  heard.report(true);
  ensureHeard?.();
  expect(ensureHeardWithin(undefined, heard)).toBeUndefined();
});
