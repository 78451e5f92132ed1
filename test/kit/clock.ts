/** A clock that runs with the real one and can be moved; whoever sleeps past the new time wakes. */
import type { Clock } from '@chancery/shared/clock.ts';

interface Sleeper {
  readonly time: number;
  readonly wake: () => void;
}

export class MovableClock implements Clock {
  #offset = 0;
  readonly #sleepers = new Set<Sleeper>();

  now(): Date {
    return new Date(Date.now() + this.#offset);
  }

  move(seconds: number): void {
    this.#offset += seconds * 1000;
    for (const { time, wake } of [...this.#sleepers]) if (time <= this.now().getTime()) wake();
  }

  sleepUntil(time: Date, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const left = time.getTime() - this.now().getTime();
      const done = (settle: () => void): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.#sleepers.delete(sleeper);
        settle();
      };
      const onAbort = (): void => done(() => reject(signal?.reason));
      const sleeper = { time: time.getTime(), wake: () => done(resolve) };
      const timer = setTimeout(sleeper.wake, Math.min(Math.max(0, left), 2 ** 31 - 1));
      this.#sleepers.add(sleeper);
      if (signal?.aborted) onAbort();
      else signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}
