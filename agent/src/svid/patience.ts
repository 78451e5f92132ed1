/** The first steps of an agent, tried until they work: a CA that is not up yet is no reason to end. */
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { type IdentityError, isRefusal, type Refusal } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';

export interface PatienceDeps {
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly log: Log;
  /** Asked about each failure that could mend itself; an agent waits however long, a job does not. */
  readonly givesUp?: (failure: IdentityError) => boolean;
  /** Hears of each failure after which there is another attempt. */
  readonly onFailure?: (failure: IdentityError) => void;
}

const FIRST_RETRY_SECONDS = 1;
const LAST_RETRY_SECONDS = 30;
/** Of each pause, either way, so that a fleet does not come back as one. */
const SPREAD = 0.2;
/** Misconfigured here: trying again changes nothing. */
const FINAL: readonly Refusal[] = ['bootstrap', 'bundle', 'config', 'file', 'file_mode'];

/** Throws the abort, what is misconfigured here, and what is a bug. */
export async function untilItWorks<T>(
  attempt: () => Promise<T>,
  { clock, log, random, givesUp, onFailure }: PatienceDeps,
  signal: AbortSignal,
): Promise<T> {
  for (let failures = 0; ; failures += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (signal.aborted || !isRefusal(error) || FINAL.includes(error.code)) throw error;
      if (givesUp?.(error)) throw error;
      onFailure?.(error);
      const seconds =
        Math.min(FIRST_RETRY_SECONDS * 2 ** failures, LAST_RETRY_SECONDS) *
        (1 - SPREAD + 2 * SPREAD * random());
      log.warn({ err: error, retryInSeconds: Math.round(seconds) }, 'not joined yet');
      await clock.sleepUntil(addSeconds(clock.now(), seconds), signal);
    }
  }
}
