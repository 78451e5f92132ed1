/** Retries the first steps of an agent until they work: the CA may not be up yet. */
import { backoffSeconds } from '@chancery/shared/ground/backoff.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { type IdentityError, isRefusal, type Refusal } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';

export interface RetryDeps {
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly log: Log;
  /** Called for each failure that may pass. An agent waits without a bound, a job does not. */
  readonly givesUp?: (failure: IdentityError) => boolean;
  /** Called for each failure that is followed by another attempt. */
  readonly onFailure?: (failure: IdentityError) => void;
}

const RETRY = { firstSeconds: 1, lastSeconds: 30, spread: 0.2 };
/** Errors of configuration: another attempt changes nothing. */
const FINAL: readonly Refusal[] = ['bootstrap', 'bundle', 'config', 'file', 'file_mode'];

/** Throws the abort, errors of configuration, and bugs. */
export async function untilItWorks<T>(
  attempt: () => Promise<T>,
  { clock, log, random, givesUp, onFailure }: RetryDeps,
  signal: AbortSignal,
): Promise<T> {
  for (let failures = 1; ; failures += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (signal.aborted || !isRefusal(error) || FINAL.includes(error.code)) throw error;
      if (givesUp?.(error)) throw error;
      onFailure?.(error);
      const seconds = backoffSeconds(RETRY, failures, random());
      log.warn({ err: error, retryInSeconds: Math.round(seconds) }, 'not joined yet');
      await clock.sleepUntil(addSeconds(clock.now(), seconds), signal);
    }
  }
}
