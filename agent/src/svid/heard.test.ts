/** The wait after a failed renewal, and what the CA says meanwhile. */
import { LiveValue } from '@chancery/shared/ground/source.ts';
import { beforeEach, expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { whenHeard } from './heard.ts';

const live = () => new LiveValue<unknown>(() => new Error('nothing yet'));
let clock: ManualClock;
let sources: { bundle: LiveValue<unknown>; policy: LiveValue<unknown>; revocations: LiveValue<unknown> };
let stop: AbortController;
let done: boolean;
beforeEach(() => {
  clock = new ManualClock(NOW);
  sources = { bundle: live(), policy: live(), revocations: live() };
  stop = new AbortController();
  done = false;
});

const settled = () => new Promise((resolve) => setImmediate(resolve));
const wait = () => {
  const waiting = whenHeard(sources, { clock, random: () => 0.5 }, stop.signal);
  waiting.then(
    () => {
      done = true;
    },
    () => {},
  );
  return waiting;
};

test.each(['bundle', 'policy', 'revocations'] as const)(
  'ends some seconds after the next %s',
  async (name) => {
    void wait();
    clock.advanceTo(after(50));
    await settled();
    expect(done).toBe(false);
    sources[name].publish('news');
    await settled();
    clock.advanceTo(after(55));
    await settled();
    expect(done).toBe(false);
    clock.advanceTo(after(56));
    await settled();
    expect(done).toBe(true);
  },
);

test('M110 a CA that says much and issues nothing is asked once for it, and no sooner for the words that follow', async () => {
  void wait();
  for (let n = 0; n < 100; n += 1) sources.revocations.publish(n);
  await settled();
  expect(clock.sleeping).toBe(1);
  clock.advanceTo(after(5));
  for (let n = 0; n < 100; n += 1) sources.policy.publish(n);
  await settled();
  expect([done, clock.sleeping]).toEqual([false, 1]);
  clock.advanceTo(after(6));
  await settled();
  expect(done).toBe(true);
});

test.each([false, true])('ends with the signal, also where something was heard (%s)', async (heard) => {
  const waiting = wait();
  if (heard) sources.policy.publish('news');
  await settled();
  stop.abort(new Error('over'));
  await expect(waiting).rejects.toThrow('over');
});
