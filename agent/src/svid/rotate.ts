/** The rotation loop and its pure half: when to try next. */
import type { Clock } from '@chancery/shared/ground/clock.ts';

interface Lifetime {
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Half of life as the CA sees it, or later where this clock is ahead of the CA's. */
  readonly renewAfter: Date;
}

export interface RotateDeps<S extends Lifetime> {
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly renew: (current: S, signal: AbortSignal) => Promise<S>;
  readonly publish: (svid: S) => void;
  /** Resolves when the clock has been set back: the SVID may be from the future then. Rejects at the signal. */
  readonly setBack: (signal: AbortSignal) => Promise<void>;
  /** Called before the first attempt where the SVID expired while the loop slept. */
  readonly onExpired: (expired: S) => void;
  readonly onFailure: (error: unknown, failures: number) => void;
}

/**
 * Keeps one SVID fresh, and goes on trying after it has expired: a process that ended would only be started again to
 * wait for the same CA, and an expired certificate does no harm, for whoever verifies it refuses it. Ends only by
 * throwing the abort.
 */
export async function rotate<S extends Lifetime>(
  first: S,
  deps: RotateDeps<S>,
  signal: AbortSignal,
): Promise<never> {
  let svid = first;
  let failures = 0;
  // Drawn once a certificate, so that a fleet that joined together does not renew together.
  let spread = deps.random();
  // A saved SVID may have seconds left.
  let isDue = deps.clock.now() >= first.renewAfter;
  for (;;) {
    if (!isDue) await wait(nextAttempt(svid, failures, deps.clock.now(), spread), deps, signal);
    isDue = false;
    if (failures === 0 && deps.clock.now() >= svid.notAfter) deps.onExpired(svid);
    try {
      svid = await deps.renew(svid, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      failures += 1;
      deps.onFailure(error, failures);
      continue;
    }
    failures = 0;
    spread = deps.random();
    deps.publish(svid);
  }
}

async function wait(
  until: Date,
  { clock, setBack }: Pick<RotateDeps<Lifetime>, 'clock' | 'setBack'>,
  signal: AbortSignal,
): Promise<void> {
  const over = new AbortController();
  const waiting = AbortSignal.any([signal, over.signal]);
  const waits = [clock.sleepUntil(until, waiting), setBack(waiting)];
  try {
    await Promise.race(waits);
  } finally {
    over.abort();
    await Promise.allSettled(waits);
  }
}

const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 60_000;
/** Of the whole lifetime, either way; less where renewAfter is near an end of it. */
const SPREAD = 0.1;

/**
 * Half of life, spread by a tenth of life either way; after a failure 1 s, doubling to a minute, with the same spread;
 * never sleeping past expiry. At least a second from `now`, so that a CA that returns stale certificates cannot spin
 * the loop.
 */
export function nextAttempt(svid: Lifetime, failures: number, now: Date, random: number): Date {
  const renewAfter = svid.renewAfter.getTime();
  const nearest = Math.min(svid.notAfter.getTime() - renewAfter, renewAfter - svid.notBefore.getTime());
  const offset = (random * 2 - 1) * SPREAD;
  const backoff = Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LAST_RETRY_MS) * (1 + offset);
  const wanted = failures === 0 ? renewAfter + offset * 2 * nearest : now.getTime() + backoff;
  const earliest = now.getTime() + FIRST_RETRY_MS;
  const latest = now < svid.notAfter ? svid.notAfter.getTime() : Number.POSITIVE_INFINITY;
  return new Date(Math.max(earliest, Math.min(wanted, latest)));
}
