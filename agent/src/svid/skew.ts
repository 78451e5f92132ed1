/** The difference between this machine's clock and the CA's, by the time that the CA sends with a certificate. */
import type { Log } from '@chancery/shared/ground/log.ts';

/** Ahead: rounding to seconds, the way of the message, and synchronized clocks stay below it. */
const AHEAD_SECONDS = 60;
/**
 * Behind: certificates are valid from 10 s before the CA made them, so beyond that a new one is not valid yet. The way
 * of the message makes this clock look ahead, never behind.
 */
const BEHIND_SECONDS = 10;

/** Seconds by which this clock is ahead; undefined if the CA does not tell its time. */
export function skewOf(now: Date, caSeconds: bigint): number | undefined {
  return caSeconds === 0n ? undefined : Math.round(now.getTime() / 1000 - Number(caSeconds));
}

/** A clause for a log line or an error; `seconds` is positive where this clock is ahead. */
export const describeSkew = (seconds: number): string =>
  `this machine's clock is ${Math.abs(seconds)} s ${seconds < 0 ? 'behind' : 'ahead of'} the CA's`;

/** Whether the clocks differ by more than is harmless. False if the CA has not told its time. */
export const isSkewed = (seconds: number | undefined): seconds is number =>
  seconds !== undefined && (seconds > AHEAD_SECONDS || seconds < -BEHIND_SECONDS);

/** Warns once when the clocks differ, and again after they agreed or if the direction changes. */
export class SkewWarning {
  readonly #log: Log;
  #told = 0;
  #seconds: number | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  /** As of the last certificate: positive where this clock is ahead; undefined before the first. */
  seconds(): number | undefined {
    return this.#seconds;
  }

  /** A new measurement in seconds; logs a warning if the clock begins to be wrong. Ignores undefined. */
  hear(seconds: number | undefined): void {
    if (seconds === undefined) return;
    this.#seconds = seconds;
    const direction = isSkewed(seconds) ? Math.sign(seconds) : 0;
    if (direction !== 0 && direction !== this.#told)
      this.#log.warn({ skewSeconds: seconds }, `${describeSkew(seconds)}: set the clock`);
    this.#told = direction;
  }
}
