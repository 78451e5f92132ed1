/** Ends the wait after a failed renewal: what the CA says on the trust stream is a sign that it may issue again. */
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import type { Source } from '@chancery/shared/ground/source.ts';

export interface HeardDeps {
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
}

/** What comes with a snapshot. */
export interface HeardSources {
  readonly bundle: Source<unknown>;
  readonly policy: Source<unknown>;
  readonly revocations: Source<unknown>;
}

/** All agents hear it at once; and a CA that says much and issues nothing is not asked at each word. */
const [AFTER_SECONDS, SPREAD_SECONDS] = [2, 8];

/** Resolves 2 to 10 s after the next snapshot. Rejects with the signal's reason. */
export async function whenHeard(
  { bundle, policy, revocations }: HeardSources,
  { clock, random }: HeardDeps,
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stops = [bundle, policy, revocations].map((each) => each.onChange(() => resolve()));
  const abort = (): void => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    signal.throwIfAborted();
    await promise;
  } finally {
    for (const stop of stops) stop();
    signal.removeEventListener('abort', abort);
  }
  await clock.sleepUntil(addSeconds(clock.now(), AFTER_SECONDS + random() * SPREAD_SECONDS), signal);
}
