/** Time that passes when a test says so. */
import type { Clock } from '@chancery/shared/ground/clock.ts';

interface Sleeper {
  readonly time: Date;
  readonly wake: () => void;
}

export class ManualClock implements Clock {
  readonly #sleepers = new Set<Sleeper>();
  #now: Date;

  constructor(now: Date) {
    this.#now = now;
  }

  now(): Date {
    return this.#now;
  }

  sleepUntil(time: Date, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (time <= this.#now) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const sleeper = { time, wake: resolve };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', () => {
        this.#sleepers.delete(sleeper);
        reject(signal.reason);
      });
    });
  }

  /** How many sleep. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  /** Without waking anybody: for a check that must not rely on a timer. */
  jump(time: Date): void {
    this.#now = time;
  }

  advanceTo(time: Date): void {
    this.#now = time;
    for (const sleeper of this.#sleepers) {
      if (sleeper.time > time) continue;
      this.#sleepers.delete(sleeper);
      sleeper.wake();
    }
  }
}
