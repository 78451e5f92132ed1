/** The rotation loop and its pure half: when to try next. */
import { backoffSeconds } from '@chancery/shared/ground/backoff.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';

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
  readonly renew: (current: S) => Promise<S>;
  readonly publish: (svid: S) => void;
  /** Each resolves when there is a reason to renew the SVID before its time, and rejects at the signal. */
  readonly early: (svid: S, signal: AbortSignal) => readonly Promise<void>[];
  /** Called before the first attempt if the SVID expired while the loop slept. */
  readonly onExpired: (expired: S) => void;
  readonly onFailure: (error: unknown, failures: number) => void;
}

/**
 * Keeps one SVID fresh, and continues after it has expired: if the process ended, it would only be restarted to wait
 * for the same CA, and an expired certificate does no harm, because every verifier refuses it. Ends only by throwing
 * the abort.
 */
export async function rotate<S extends Lifetime>(
  first: S,
  deps: RotateDeps<S>,
  signal: AbortSignal,
): Promise<never> {
  let svid = first;
  let failures = 0;
  // Drawn once per certificate, so that a fleet that joined together does not renew together.
  let spread = deps.random();
  // A saved SVID may have seconds left.
  let isDue = deps.clock.now() >= first.renewAfter;
  for (;;) {
    if (!isDue) await wait(svid, nextAttempt(svid, failures, deps.clock.now(), spread), deps, signal);
    isDue = false;
    if (failures === 0 && deps.clock.now() >= svid.notAfter) deps.onExpired(svid);
    try {
      svid = await deps.renew(svid);
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

async function wait<S extends Lifetime>(
  svid: S,
  until: Date,
  { clock, early }: Pick<RotateDeps<S>, 'clock' | 'early'>,
  signal: AbortSignal,
): Promise<void> {
  const over = new AbortController();
  const waiting = AbortSignal.any([signal, over.signal]);
  const waits = [clock.sleepUntil(until, waiting), ...early(svid, waiting)];
  try {
    await Promise.race(waits);
  } finally {
    over.abort();
    await Promise.allSettled(waits);
  }
}

/** `spread` of a renewal: a tenth of the lifetime, less if renewAfter is near either end. */
const RETRY = { firstSeconds: 1, lastSeconds: 60, spread: 0.1 };

/**
 * Half of life, spread by a tenth of life either way; after a failure 1 s, doubling to a minute, with the same spread;
 * never sleeping past expiry. At least a second from `now`, so that a CA that returns stale certificates cannot spin
 * the loop.
 */
export function nextAttempt(svid: Lifetime, failures: number, now: Date, random: number): Date {
  const renewAfter = svid.renewAfter.getTime();
  const nearest = Math.min(svid.notAfter.getTime() - renewAfter, renewAfter - svid.notBefore.getTime());
  const offset = (random * 2 - 1) * RETRY.spread;
  const wanted =
    failures === 0
      ? renewAfter + offset * 2 * nearest
      : addSeconds(now, backoffSeconds(RETRY, failures, random)).getTime();
  const earliest = addSeconds(now, RETRY.firstSeconds).getTime();
  const latest = now < svid.notAfter ? svid.notAfter.getTime() : Number.POSITIVE_INFINITY;
  return new Date(Math.max(earliest, Math.min(wanted, latest)));
}
