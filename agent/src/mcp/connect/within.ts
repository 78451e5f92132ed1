/** Waits that end. */
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

/** Undefined if the work takes longer, or fails. The signal that it gets ends with the time. */
export async function within<T>(
  clock: Clock,
  seconds: number,
  work: (signal: AbortSignal) => Promise<T>,
  stopped?: AbortSignal,
): Promise<T | undefined> {
  const [over, done] = [new AbortController(), new AbortController()];
  const until = stopped === undefined ? done.signal : AbortSignal.any([stopped, done.signal]);
  clock
    .sleepUntil(addSeconds(clock.now(), seconds), until)
    .catch(() => {})
    .finally(() => over.abort());
  try {
    return await work(over.signal);
  } catch {
    return undefined;
  } finally {
    done.abort();
  }
}
