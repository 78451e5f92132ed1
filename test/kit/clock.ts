/** A clock that runs with the real one, and can be moved and held. Moving it wakes every sleeper that is due. */
import type { Clock } from '@chancery/shared/ground/clock.ts';

interface Sleeper {
  readonly time: number;
  /** Milliseconds of moves forward that wake it, though the clock may have been set back: as `clockOf` does. */
  left: number;
  readonly wake: () => void;
  timer: NodeJS.Timeout | undefined;
}

export class MovableClock implements Clock {
  #offset = 0;
  #held: number | undefined;
  readonly #sleepers = new Set<Sleeper>();

  now(): Date {
    return new Date(this.#held ?? Date.now() + this.#offset);
  }

  move(seconds: number): void {
    if (this.#held === undefined) this.#offset += seconds * 1000;
    else this.#held += seconds * 1000;
    for (const sleeper of [...this.#sleepers]) {
      sleeper.left -= Math.max(0, seconds) * 1000;
      if (sleeper.time <= this.now().getTime() || sleeper.left <= 0) sleeper.wake();
    }
  }

  /** Time stands still until it is released, except for moves. */
  hold(): void {
    this.#held = this.now().getTime();
    for (const { timer } of this.#sleepers) clearTimeout(timer);
  }

  release(): void {
    this.#offset = this.now().getTime() - Date.now();
    this.#held = undefined;
    for (const sleeper of this.#sleepers) this.#arm(sleeper);
  }

  sleepUntil(time: Date, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (settle: () => void): void => {
        clearTimeout(sleeper.timer);
        signal?.removeEventListener('abort', onAbort);
        this.#sleepers.delete(sleeper);
        settle();
      };
      const onAbort = (): void => done(() => reject(signal?.reason));
      const left = time.getTime() - this.now().getTime();
      const wake = () => done(resolve);
      const sleeper: Sleeper = { time: time.getTime(), left, wake, timer: undefined };
      this.#sleepers.add(sleeper);
      if (this.#held === undefined) this.#arm(sleeper);
      else if (sleeper.time <= this.#held) sleeper.wake();
      if (signal?.aborted) onAbort();
      else signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  #arm(sleeper: Sleeper): void {
    const left = sleeper.time - this.now().getTime();
    sleeper.timer = setTimeout(sleeper.wake, Math.min(Math.max(0, left), 2 ** 31 - 1));
  }
}
