import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { addSeconds, systemClock } from './clock.ts';

test('seconds are added to an instant, which stays', () => {
  const time = new Date('2026-06-01T12:00:00Z');
  expect(addSeconds(time, 90)).toEqual(new Date('2026-06-01T12:01:30Z'));
  expect(addSeconds(time, -0.5)).toEqual(new Date('2026-06-01T11:59:59.500Z'));
  expect(time).toEqual(new Date('2026-06-01T12:00:00Z'));
});

/** What node:timers/promises is asked to sleep, during which the faked time passes. */
const slept = vi.hoisted((): number[] => []);
vi.mock('node:timers/promises', () => ({
  setTimeout: async (ms: number, _: unknown, { signal }: { signal?: AbortSignal }) => {
    signal?.throwIfAborted();
    slept.push(ms);
    vi.setSystemTime(Date.now() + ms);
  },
}));

describe('the system’s clock', () => {
  beforeEach(() => {
    slept.length = 0;
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime('2026-06-01T12:00:00Z');
  });
  afterEach(() => vi.useRealTimers());

  test('sleeps until the time, and not at all where that is past', async () => {
    await systemClock.sleepUntil(addSeconds(systemClock.now(), 2));
    expect(systemClock.now()).toEqual(new Date('2026-06-01T12:00:02Z'));
    await systemClock.sleepUntil(systemClock.now());
    await systemClock.sleepUntil(new Date(0));
    expect(slept).toEqual([2000]);
  });

  test('sleeps longer than a timer can count', async () => {
    await systemClock.sleepUntil(addSeconds(systemClock.now(), 60 * 86_400));
    expect(slept).toEqual([2 ** 31 - 1, 2 ** 31 - 1, 60 * 86_400_000 - 2 * (2 ** 31 - 1)]);
  });

  test.each([1, -1])('does not go on where it is told to stop (%i s)', async (seconds) => {
    const signal = AbortSignal.abort(new Error('stopped'));
    await expect(systemClock.sleepUntil(addSeconds(systemClock.now(), seconds), signal)).rejects.toThrow(
      'stopped',
    );
    expect(slept).toEqual([]);
  });
});
