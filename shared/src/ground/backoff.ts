/** How long to wait after failures in a row: twice as long each time, up to a bound. */

export interface Backoff {
  readonly firstSeconds: number;
  readonly lastSeconds: number;
  /** The part of each pause that chance adds or takes, so that a fleet does not come back as one. */
  readonly spread: number;
}

/** In seconds. `failures` is at least 1; `random` is from 0 up to 1. */
export function backoffSeconds(
  { firstSeconds, lastSeconds, spread }: Backoff,
  failures: number,
  random: number,
): number {
  return Math.min(firstSeconds * 2 ** (failures - 1), lastSeconds) * (1 - spread + 2 * spread * random);
}
