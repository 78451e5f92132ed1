import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError, type Refusal } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { expect, test } from 'vitest';
import { untilItWorks } from './retry.ts';

const START = new Date('2026-06-01T00:00:00Z');

/** The clock jumps; `slept` is how long each pause was. */
function jumping() {
  const slept: number[] = [];
  let now = START;
  const clock: Clock = {
    now: () => now,
    sleepUntil: async (time) => {
      slept.push((time.getTime() - now.getTime()) / 1000);
      now = time;
    },
  };
  return { clock, slept };
}

const failing = (times: number, error: unknown) => async () => {
  times -= 1;
  if (times >= 0) throw error;
  return 'joined';
};

test('waits a second, doubling to half a minute', async () => {
  const { clock, slept } = jumping();
  const deps = { clock, log: silentLog, random: () => 0.5 };
  const away = new IdentityError('unavailable', 'the CA does not answer');
  const joined = await untilItWorks(failing(7, away), deps, AbortSignal.timeout(60_000));
  expect(joined).toBe('joined');
  expect(slept.map(Math.round)).toEqual([1, 2, 4, 8, 16, 30, 30]);
});

test.each([
  [0, 0.8],
  [1, 1.2],
])('a draw of %d makes the first pause %d s', async (drawn, expected) => {
  const { clock, slept } = jumping();
  const refused = new IdentityError('refused_by_ca', 'not yet');
  await untilItWorks(
    failing(1, refused),
    { clock, log: silentLog, random: () => drawn },
    AbortSignal.timeout(60_000),
  );
  expect(slept[0]).toBeCloseTo(expected);
});

test.each<Refusal>(['bootstrap', 'bundle', 'config', 'file', 'file_mode'])(
  '%s is not tried again',
  async (code) => {
    const { clock, slept } = jumping();
    const error = new IdentityError(code, 'mend this');
    const deps = { clock, log: silentLog, random: () => 0.5 };
    await expect(untilItWorks(failing(1, error), deps, AbortSignal.timeout(60_000))).rejects.toBe(error);
    expect(slept).toEqual([]);
  },
);

test('a bug is not tried again', async () => {
  const { clock, slept } = jumping();
  const deps = { clock, log: silentLog, random: () => 0.5 };
  const attempt = untilItWorks(failing(1, new TypeError('a bug')), deps, AbortSignal.timeout(60_000));
  await expect(attempt).rejects.toThrow(TypeError);
  expect(slept).toEqual([]);
});

test('an abort ends it, during an attempt and during a pause', async () => {
  const away = new IdentityError('unavailable', 'the CA does not answer');
  const stop = new AbortController();
  const cut = async () => {
    stop.abort();
    throw away;
  };
  const { clock, slept } = jumping();
  const deps = { log: silentLog, random: () => 0.5 };
  await expect(untilItWorks(cut, { ...deps, clock }, stop.signal)).rejects.toBe(away);
  expect(slept).toEqual([]);
  const sleeping: Clock = {
    now: () => START,
    sleepUntil: async (time, signal) => {
      expect(time).toEqual(addSeconds(START, 1));
      signal?.throwIfAborted();
    },
  };
  await expect(
    untilItWorks(failing(1, away), { ...deps, clock: sleeping }, AbortSignal.abort('told')),
  ).rejects.toBe(away);
});
