/** A clock for a gateway: its waits, and with them the windows in which it folds records, end when a test says so. */
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '@chancery/shared/ground/clock.ts';

export interface WindowClock {
  readonly clock: Clock;
  /** Ends the window that is open. Those that had repeats go on with a new one. */
  endWindow(): Promise<void>;
}

export function windowClock(): WindowClock {
  const waiting: (() => void)[] = [];
  let aheadMs = 0;
  return {
    clock: {
      now: () => new Date(Date.now() + aheadMs),
      sleepUntil: (_time, signal) =>
        new Promise((resolve, reject) => {
          waiting.push(resolve);
          signal?.addEventListener('abort', () => reject(signal.reason));
        }),
    },
    async endWindow() {
      aheadMs += 60_000;
      for (const resolve of waiting.splice(0)) resolve();
      await setImmediate();
    },
  };
}
