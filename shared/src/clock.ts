/** Time comes in by argument. The one real clock is here; tests bring their own. */
import { setTimeout as sleep } from 'node:timers/promises';

export interface Clock {
  now(): Date;
  /** Resolves at `time`, at once if it is past; rejects with the signal's reason when that aborts. */
  sleepUntil(time: Date, signal?: AbortSignal): Promise<void>;
}

/** setTimeout counts in 31 bits of milliseconds; a longer wait is several. It also drifts, so it asks again. */
const LONGEST_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => new Date(),
  async sleepUntil(time, signal) {
    for (let left = time.getTime() - Date.now(); left > 0; left = time.getTime() - Date.now())
      await sleep(Math.min(left, LONGEST_MS), undefined, signal === undefined ? {} : { signal });
    signal?.throwIfAborted();
  },
};

export const addSeconds = (time: Date, seconds: number): Date => new Date(time.getTime() + seconds * 1000);
