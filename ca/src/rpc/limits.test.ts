import { beforeEach, expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { Limits } from './limits.ts';

const settings = {
  attestationsPerSecond: 1,
  attestationBurst: 2,
  openAttestations: 20_000,
  openAttestationsPerAddress: 2,
};
let clock: ManualClock;
let limits: Limits;
beforeEach(() => {
  clock = new ManualClock(NOW);
  limits = new Limits(settings, clock);
});
const fast = refusal('rate', /^a starts exchanges faster than it may$/);

test('a place is free once, however often it is left', () => {
  const leave = limits.enter('a');
  limits.enter('b');
  leave();
  leave();
  expect(limits.open).toBe(1);
});

test('what is refused is not counted', () => {
  limits.enter('a');
  limits.enter('a');
  expect(() => limits.enter('a')).toThrow(refusal('rate', /^a has 2 exchanges open$/));
  expect(limits.open).toBe(2);
});

test('time earns no more than the burst, and none when it goes backwards', () => {
  const start = () => limits.enter('a')();
  start();
  start();
  expect(start).toThrow(fast);
  clock.jump(after(-60));
  expect(start).toThrow(fast);
  clock.jump(after(1000));
  start();
  start();
  expect(start).toThrow(fast);
});

test('another address does not give the first one its burst back', () => {
  limits.enter('a')();
  limits.enter('a')();
  limits.enter('b')();
  expect(() => limits.enter('a')).toThrow(fast);
});

test('ten thousand addresses are remembered; those that are idle make room for the next', () => {
  const leave = Array.from({ length: 10_000 }, (_, n) => limits.enter(`address-${n}`));
  expect(() => limits.enter('a')).toThrow(refusal('rate', /^too many addresses have exchanges open$/));
  expect(limits.open).toBe(10_000);
  leave[7]?.();
  limits.enter('a');
  expect(() => limits.enter('b')).toThrow(refusal('rate', /too many addresses/));
});
