import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { describe, expect, test, vi } from 'vitest';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { nextAttempt, type RotateDeps, rotate } from './rotate.ts';

const START = new Date('2026-06-01T00:00:00Z');
const at = (seconds: number): Date => addSeconds(START, seconds);
const seconds = (time: Date): number => (time.getTime() - START.getTime()) / 1000;

interface Life {
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly renewAfter: Date;
}

const life = (from: number, ttl: number): Life => ({
  notBefore: at(from),
  notAfter: at(from + ttl),
  renewAfter: at(from + ttl / 2),
});

/** Until it is aborted. */
const never = (signal?: AbortSignal): Promise<void> =>
  new Promise((_, reject) => {
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener('abort', () => reject(signal.reason));
  });

interface Walk {
  /** The second at which a sleep ends that was to end at `second`; the machine may have been suspended. */
  readonly wakes?: (second: number) => number;
  /** Whether the attempt at this second succeeds. */
  readonly up?: (second: number) => boolean;
  readonly ttl?: number;
  /** A new one by default. */
  readonly first?: Life;
  readonly until: number;
  readonly random?: () => number;
  /** What the CA gives out; a new life by default. */
  readonly given?: (second: number) => Life;
}

/** Sleeping takes no time: the clock jumps to where the sleeper wants to wake, and it is written down. */
async function walk({
  wakes = (s) => s,
  up = () => true,
  ttl = 3600,
  first = life(0, ttl),
  until,
  random = () => 0.5,
  given,
}: Walk) {
  const log: string[] = [];
  let now = START;
  const stop = new AbortController();
  const clock: Clock = {
    now: () => now,
    sleepUntil: async (time) => {
      log.push(`sleep ${seconds(time)}`);
      if (seconds(time) > until) stop.abort();
      stop.signal.throwIfAborted();
      now = at(wakes(seconds(time)));
    },
  };
  const deps: RotateDeps<Life> = {
    clock,
    random,
    early: () => [],
    renew: async () => {
      if (!up(seconds(now))) throw new Error('the CA is away');
      return given?.(seconds(now)) ?? life(seconds(now), ttl);
    },
    publish: ({ notAfter }) => log.push(`publish ${seconds(notAfter)}`),
    onExpired: ({ notAfter }) => log.push(`expired ${seconds(notAfter)}`),
    onFailure: (_, failures) => log.push(`failure ${failures}`),
  };
  await expect(rotate(first, deps, stop.signal)).rejects.toThrow('aborted');
  return log;
}

describe('an hour in a millisecond', () => {
  test('renews at half of life, again and again', async () => {
    expect(await walk({ until: 6000 })).toEqual([
      'sleep 1800',
      'publish 5400',
      'sleep 3600',
      'publish 7200',
      'sleep 5400',
      'publish 9000',
      'sleep 7200',
    ]);
  });

  test('after a failure tries in 1 s, doubling to a minute, and forgets it all at the next success', async () => {
    const log = await walk({ up: (second) => second > 2000, until: 4000 });
    expect(log.filter((line) => line.startsWith('sleep'))).toEqual(
      [1800, 1801, 1803, 1807, 1815, 1831, 1863, 1923, 1983, 2043, 3843, 5643].map((s) => `sleep ${s}`),
    );
    expect(log.filter((line) => line.startsWith('failure')).at(-1)).toBe('failure 9');
    expect(log).toContain('publish 5643');
  });

  test('does not sleep past the end of the certificate, and goes on after it', async () => {
    const log = await walk({ ttl: 100, up: (second) => second > 300, until: 400 });
    const sleeps = log.filter((line) => line.startsWith('sleep')).map((line) => Number(line.slice(6)));
    expect(sleeps).toEqual([50, 51, 53, 57, 65, 81, 100, 160, 220, 280, 340, 390, 440]);
    expect(log).toContain('publish 440');
  });

  test('an SVID that expired during the sleep is told once and renewed at once', async () => {
    const log = await walk({ wakes: (s) => (s === 1800 ? 4800 : s), up: (s) => s > 4801, until: 5000 });
    expect(log).toEqual([
      ...['sleep 1800', 'expired 3600', 'failure 1', 'sleep 4801', 'failure 2', 'sleep 4803'],
      ...['publish 8403', 'sleep 6603'],
    ]);
  });

  test('a saved SVID that is past its renewal is renewed without a wait, and after a failure in a second', async () => {
    const saved = life(-3599, 3600);
    expect(await walk({ first: saved, until: 100 })).toEqual(['publish 3600', 'sleep 1800']);
    const later = await walk({ first: saved, up: (second) => second > 1, until: 100 });
    expect(later).toEqual(['failure 1', 'sleep 1', 'failure 2', 'sleep 3', 'publish 3603', 'sleep 1803']);
  });

  test('a CA that returns stale certificates is asked once a second, not more', async () => {
    const log = await walk({ given: () => life(-7000, 3600), until: 1805 });
    expect(log.filter((line) => line.startsWith('sleep'))).toEqual(
      [1800, 1801, 1802, 1803, 1804, 1805, 1806].map((s) => `sleep ${s}`),
    );
  });

  test('the spread is drawn once a certificate, whatever fails in between', async () => {
    let drawn = 0;
    const random = () => {
      drawn += 1;
      return 0.5;
    };
    const log = await walk({ random, up: (second) => second > 1900, until: 4000 });
    expect(drawn).toBe(1 + log.filter((line) => line.startsWith('publish')).length);
    expect(log.filter((line) => line.startsWith('failure')).length).toBeGreaterThan(5);
  });

  test('an abort during a renewal ends the loop with its reason', async () => {
    const stop = new AbortController();
    const failures: unknown[] = [];
    const ended = rotate(
      life(0, 3600),
      {
        clock: { now: () => START, sleepUntil: async () => {} },
        random: () => 0.5,
        early: () => [],
        renew: async () => {
          stop.abort();
          throw new Error('cancelled');
        },
        publish: () => {},
        onExpired: () => {},
        onFailure: (error) => failures.push(error),
      },
      stop.signal,
    );
    await expect(ended).rejects.toThrow('cancelled');
    expect(failures).toEqual([]);
  });
});

describe('when to try next', () => {
  const hour = life(0, 3600);
  test.each([
    { name: 'half of life', failures: 0, now: 0, random: 0.5, next: 1800 },
    { name: 'earliest spread: a tenth of life before', failures: 0, now: 0, random: 0, next: 1440 },
    { name: 'latest spread: a tenth of life after', failures: 0, now: 0, random: 1, next: 2160 },
    { name: 'overdue: in a second', failures: 0, now: 3000, random: 0.5, next: 3001 },
    { name: 'first failure', failures: 1, now: 1800, random: 0.5, next: 1801 },
    { name: 'first failure, spread', failures: 1, now: 1800, random: 1, next: 1801.1 },
    { name: 'first failure, never within a second', failures: 1, now: 1800, random: 0, next: 1801 },
    { name: 'seventh failure: a minute', failures: 7, now: 1800, random: 0.5, next: 1860 },
    { name: 'hundredth failure: a minute', failures: 100, now: 1800, random: 0.5, next: 1860 },
    { name: 'just before the end: the end', failures: 7, now: 3590, random: 0.5, next: 3600 },
    { name: 'at the end: a second on at least', failures: 7, now: 3599.5, random: 0.5, next: 3600.5 },
    { name: 'after the end: a minute', failures: 7, now: 3601, random: 0.5, next: 3661 },
  ])('$name', ({ failures, now, random, next }) => {
    expect(seconds(nextAttempt(hour, failures, at(now), random))).toBe(next);
  });

  test.each([
    [3540, 0, 3528],
    [3540, 1, 3552],
    [60, 0, 48],
    [60, 1, 72],
  ])('renewal at %i s is spread within what is left on either side (%i)', (renewal, random, next) => {
    const skewed = { ...hour, renewAfter: at(renewal) };
    expect(seconds(nextAttempt(skewed, 0, at(0), random))).toBe(next);
  });
});

test('a clock that is set back ends the wait: the SVID may be valid from then on only', async () => {
  const stop = new AbortController();
  const setBack = Promise.withResolvers<void>();
  let renewals = 0;
  const deps: RotateDeps<Life> = {
    clock: { now: () => START, sleepUntil: (_, signal) => never(signal) },
    random: () => 0.5,
    early: (_, signal) => [renewals === 0 ? setBack.promise : never(signal)],
    renew: async () => {
      renewals += 1;
      return life(0, 3600);
    },
    publish: () => setImmediate(() => stop.abort()),
    onExpired: () => {},
    onFailure: () => {},
  };
  const ended = rotate(life(7200, 3600), deps, stop.signal);
  setBack.resolve();
  await expect(ended).rejects.toThrow('aborted');
  expect(renewals).toBe(1);
});

test('nothing of a wait is left when it is over', async () => {
  const clock = new ManualClock(START);
  const waits: AbortSignal[] = [];
  const stop = new AbortController();
  const deps: RotateDeps<Life> = {
    clock,
    random: () => 0.5,
    early: (_, signal) => {
      waits.push(signal);
      return [never(signal)];
    },
    renew: async () => life(seconds(clock.now()), 3600),
    publish: () => {},
    onExpired: () => {},
    onFailure: () => {},
  };
  const ended = rotate(life(0, 3600), deps, stop.signal);
  for (const renewal of [1, 2, 3]) {
    clock.advanceTo(at(renewal * 1800));
    await vi.waitFor(() => expect(waits).toHaveLength(renewal + 1));
    expect(waits.map(({ aborted }) => aborted)).toEqual([...waits.slice(1).map(() => true), false]);
    expect(clock.sleeping).toBe(1);
  }
  stop.abort();
  await expect(ended).rejects.toThrow('aborted');
  expect(clock.sleeping).toBe(0);
});

test('a clock that is set back leaves no sleeper of the wait that it ends', async () => {
  const clock = new ManualClock(START);
  const setBack: (() => void)[] = [];
  const stop = new AbortController();
  const deps: RotateDeps<Life> = {
    clock,
    random: () => 0.5,
    early: (_, signal) => [
      Promise.race([new Promise<void>((resolve) => void setBack.push(resolve)), never(signal)]),
    ],
    renew: async () => life(0, 3600),
    publish: () => {},
    onExpired: () => {},
    onFailure: () => {},
  };
  const ended = rotate(life(0, 3600), deps, stop.signal);
  for (const time of [1, 2, 3]) {
    await vi.waitFor(() => expect(setBack).toHaveLength(time));
    expect(clock.sleeping).toBe(1);
    setBack.at(-1)?.();
  }
  await vi.waitFor(() => expect(setBack).toHaveLength(4));
  expect(clock.sleeping).toBe(1);
  stop.abort();
  await expect(ended).rejects.toThrow('aborted');
});
