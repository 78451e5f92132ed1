import { beforeEach, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { systemClock } from '../ground/clock.ts';
import { Deadlines } from './deadlines.ts';

let clock: ManualClock;
let deadlines: Deadlines;
let passed: string[];
beforeEach(() => {
  clock = new ManualClock(NOW);
  deadlines = new Deadlines(10_000, clock);
  passed = [];
});
const start = (name: string): (() => void) => deadlines.start(() => void passed.push(name));
const at = async (seconds: number): Promise<void> => {
  clock.advanceTo(after(seconds));
  await new Promise((resolve) => setImmediate(resolve));
};

test('each passes after its time, and one sleeper waits for all', async () => {
  start('a');
  await at(4);
  start('b');
  start('c');
  expect(clock.sleeping).toBe(1);
  await at(9);
  expect(passed).toEqual([]);
  await at(10);
  expect(passed).toEqual(['a']);
  await at(14);
  expect(passed).toEqual(['a', 'b', 'c']);
  expect(clock.sleeping).toBe(0);
});

test('one that is stopped does not pass, and nobody sleeps for longer than its time', async () => {
  const [stopA, stopB] = [start('a'), start('b')];
  stopA();
  stopA();
  stopB();
  await at(1);
  start('c');
  expect(clock.sleeping).toBe(1);
  await at(10);
  expect(passed).toEqual([]);
  await at(11);
  expect(passed).toEqual(['c']);
  expect(clock.sleeping).toBe(0);
});

test('the process may end while one runs', () => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = timers();
  const stop = new Deadlines(10_000, systemClock).start(() => {});
  expect(timers()).toBe(before);
  stop();
});

test('one that begins in the turn in which the last was stopped passes, too', async () => {
  start('a')();
  start('b');
  await at(10);
  expect(passed).toEqual(['b']);
});

test('one that begins while another passes has its whole time', async () => {
  deadlines.start(() => void start('b'));
  await at(10);
  expect(passed).toEqual([]);
  await at(19);
  expect(passed).toEqual([]);
  await at(20);
  expect(passed).toEqual(['b']);
});

test('a wall clock that is set back by an hour makes none of them last an hour', async () => {
  const sleeps: (() => void)[] = [];
  let now = NOW;
  const slow = new Deadlines(10_000, {
    now: () => now,
    sleepUntil: () => new Promise((resolve) => void sleeps.push(resolve)),
  });
  const pass = vi.fn();
  slow.start(pass);
  now = after(-3600);
  sleeps[0]?.();
  await vi.waitFor(() => expect(sleeps).toHaveLength(2));
  expect(pass).not.toHaveBeenCalled();
  now = after(-3590);
  sleeps[1]?.();
  await vi.waitFor(() => expect(pass).toHaveBeenCalledOnce());
});
