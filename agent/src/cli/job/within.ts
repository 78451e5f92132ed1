/** A bound on how long a job waits for a certificate. */
import { IdentityError, isRefusal, type Refusal } from '@chancery/shared/ground/errors.ts';

/** Failures that may pass; other refusals stay the same at every attempt. */
const MENDS_ITSELF: readonly Refusal[] = ['unavailable', 'platform_unavailable', 'tpm_device'];

/**
 * Runs `start` until it works, for at most `seconds`; after that only the caller's `signal` ends it. Throws the
 * refusal, or unavailable with the last failure.
 */
export async function within<T>(
  seconds: number,
  signal: AbortSignal,
  start: (until: AbortSignal, givesUp: (failure: IdentityError) => boolean) => Promise<T>,
): Promise<T> {
  let last: IdentityError | undefined;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), seconds * 1000);
  const givesUp = (failure: IdentityError): boolean => {
    last = failure;
    return !MENDS_ITSELF.includes(failure.code);
  };
  try {
    return await start(AbortSignal.any([signal, late.signal]), givesUp);
  } catch (error) {
    if (signal.aborted || !late.signal.aborted) throw error;
    throw lateRefusal(error, last, seconds);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The error when the time is up. The interrupted attempt has no reason of its own, so the error gives the failure of
 * the attempt before, if there was one.
 */
function lateRefusal(error: unknown, last: IdentityError | undefined, seconds: number): unknown {
  if (isRefusal(error) && !MENDS_ITSELF.includes(error.code)) return error;
  const cutShort = isRefusal(error) ? error.message : 'nothing has answered yet';
  const why = last === undefined ? cutShort : `${last.message}; the attempt after that was cut short`;
  return new IdentityError('unavailable', `no certificate in ${seconds} s: ${why}`, { cause: error });
}
