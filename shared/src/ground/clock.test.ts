import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { addSeconds, cautiousTime, clockOf, earlier, isRecent, systemClock, whenSetBack } from './clock.ts';

test('seconds are added to an instant, which stays', () => {
  const time = new Date('2026-06-01T12:00:00Z');
  expect(addSeconds(time, 90)).toEqual(new Date('2026-06-01T12:01:30Z'));
  expect(addSeconds(time, -0.5)).toEqual(new Date('2026-06-01T11:59:59.500Z'));
  expect(time).toEqual(new Date('2026-06-01T12:00:00Z'));
});

describe('the system’s clock', () => {
  const slept: number[] = [];
  beforeEach(() => {
    slept.length = 0;
    vi.useFakeTimers({ toFake: ['Date', 'performance', 'setTimeout', 'clearTimeout'] });
    vi.setSystemTime('2026-06-01T12:00:00Z');
    const faked = globalThis.setTimeout;
    vi.spyOn(globalThis, 'setTimeout').mockImplementation(((done: () => void, ms: number) => {
      slept.push(ms);
      return faked(done, ms);
    }) as typeof setTimeout);
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.useRealTimers();
  });

  test('sleeps until the time, and not at all where that is past', async () => {
    const woken = systemClock.sleepUntil(addSeconds(systemClock.now(), 2));
    await vi.runAllTimersAsync();
    await woken;
    expect(systemClock.now()).toEqual(new Date('2026-06-01T12:00:02Z'));
    await systemClock.sleepUntil(systemClock.now());
    await systemClock.sleepUntil(new Date(0));
    expect(slept).toEqual([2000]);
  });

  test('looks at the time every 15 s', async () => {
    const woken = systemClock.sleepUntil(addSeconds(systemClock.now(), 40));
    await vi.runAllTimersAsync();
    await woken;
    expect(slept).toEqual([15_000, 15_000, 10_000]);
  });

  test.each([1, -1])('does not go on where it is told to stop (%i s)', async (seconds) => {
    const signal = AbortSignal.abort(new Error('stopped'));
    const sleeping = systemClock.sleepUntil(addSeconds(systemClock.now(), seconds), signal);
    await expect(sleeping).rejects.toThrow('stopped');
    expect(vi.getTimerCount()).toBe(0);
  });

  test('stops in the middle of a sleep, with the reason, and leaves no timer', async () => {
    const stop = new AbortController();
    const sleeping = systemClock.sleepUntil(addSeconds(systemClock.now(), 40), stop.signal);
    sleeping.catch(() => {});
    await vi.advanceTimersByTimeAsync(20_000);
    const why = new Error('stopped');
    stop.abort(why);
    await expect(sleeping).rejects.toBe(why);
    expect(vi.getTimerCount()).toBe(0);
  });
});

/** A machine whose wall clock and timers are moved apart while somebody sleeps. */
function machine(during: (sleep: number, machine: { wall: number; monotonic: number }) => void) {
  const time = { wall: Date.parse('2026-06-01T12:00:00Z'), monotonic: 0 };
  const sleeps: number[] = [];
  const clock = clockOf({
    wall: () => time.wall,
    monotonic: () => time.monotonic,
    sleep: async (ms) => {
      sleeps.push(ms);
      time.wall += ms;
      time.monotonic += ms;
      during(sleeps.length, time);
    },
  });
  return { clock, sleeps, time };
}

test.each([
  ['now', 0, true],
  ['just in time', 59.999, true],
  ['late', 60, false],
  ['in the future: the clock was set back', -0.001, false],
])('an instant is recent for a minute: %s', (_, secondsAgo, expected) => {
  const now = new Date('2026-06-01T12:00:00Z');
  expect(isRecent(addSeconds(now, -secondsAgo), 60, now)).toBe(expected);
});

test('what cannot be taken back goes by the wall clock, but not by its leaps ahead', () => {
  const NOON = Date.parse('2026-06-01T12:00:00Z');
  let [wall, passed] = [NOON, 0];
  const time = cautiousTime({ now: () => new Date(wall) }, () => passed);
  const after = (ms: number) => new Date(NOON + ms);
  [wall, passed] = [NOON + 5_000, 5_000];
  expect(time()).toEqual(after(5_000));
  wall = NOON + 365 * 86_400_000;
  expect(time()).toEqual(after(5_000));
  wall = NOON - 3_600_000;
  expect(time()).toEqual(after(-3_600_000));
});

test('the earlier of what was noted and now', () => {
  const now = new Date('2026-06-01T12:00:00Z');
  expect(earlier(addSeconds(now, -5), now)).toEqual(addSeconds(now, -5));
  expect(earlier(addSeconds(now, 5), now)).toEqual(now);
});

describe('a wall clock that moves while somebody sleeps for an hour', () => {
  const HOUR = 3_600_000;

  test('a suspended machine ends the sleep at the first look after it', async () => {
    const { clock, sleeps } = machine((sleep, time) => {
      if (sleep === 2) time.wall += HOUR;
    });
    await clock.sleepUntil(addSeconds(clock.now(), 3600));
    expect(sleeps).toEqual([15_000, 15_000]);
  });

  test('a clock that is set back does not make the sleep longer', async () => {
    const { clock, time } = machine((sleep, moved) => {
      if (sleep === 2) moved.wall -= 24 * HOUR;
    });
    await clock.sleepUntil(addSeconds(clock.now(), 3600));
    expect(time.monotonic).toBe(HOUR + 1000);
  });

  test.each([
    ['two hours', 2 * HOUR, 4],
    ['65 s', 65_000, 4],
    ['30 s', 30_000, 10],
  ])('a clock that is set back by %s is told', async (_, back, looks) => {
    const stop = new AbortController();
    const { clock, sleeps } = machine((sleep, time) => {
      if (sleep === 3) time.wall -= back + 15_000;
      if (sleep === 10) stop.abort();
    });
    await whenSetBack(clock, stop.signal).catch(() => {});
    expect(sleeps).toHaveLength(looks);
  });
});
