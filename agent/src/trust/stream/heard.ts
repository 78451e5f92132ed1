/**
 * For how long nothing was heard from the CA. While the trust stream is up, a keepalive is answered every 10 s, and the
 * stream ends 5 s after one that is not: so an open stream counts as heard.
 */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';

/** Milliseconds that only grow; they may stand still while the machine is suspended. */
export type Monotonic = () => number;

/** Begins as not heard: a process that has just started has heard nothing. */
export class Heard {
  readonly #clock: Clock;
  readonly #monotonic: Monotonic;
  #lost: { readonly wall: number; readonly monotonic: number } | undefined;

  constructor(clock: Clock, monotonic: Monotonic = () => performance.now()) {
    this.#clock = clock;
    this.#monotonic = monotonic;
    this.#lost = this.#now();
  }

  /** The stream is up, or down from now on; repeated reports change nothing. */
  report(isUp: boolean): void {
    if (isUp) this.#lost = undefined;
    else this.#lost ??= this.#now();
  }

  /**
   * 0 while the stream is up. By the clock that shows more: a wall clock that was set back must not make the silence
   * shorter, and a machine that slept has heard nothing either.
   */
  silentSeconds(): number {
    if (this.#lost === undefined) return 0;
    const now = this.#now();
    return Math.max(now.wall - this.#lost.wall, now.monotonic - this.#lost.monotonic, 0) / 1000;
  }

  #now(): { readonly wall: number; readonly monotonic: number } {
    return { wall: this.#clock.now().getTime(), monotonic: this.#monotonic() };
  }
}

/**
 * What throws ca_unheard after so long a silence: a revocation may have been made meanwhile. Undefined without a bound.
 */
export function ensureHeardWithin(
  maxSeconds: number | undefined,
  trust: { readonly silentSeconds: () => number },
): (() => void) | undefined {
  if (maxSeconds === undefined) return undefined;
  return () => {
    const silent = trust.silentSeconds();
    const says = `the CA was not heard for ${Math.round(silent)} s, and maxStaleness is ${maxSeconds} s`;
    ensure(silent < maxSeconds, 'ca_unheard', says);
  };
}
