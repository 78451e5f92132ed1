/** Takes resources of the policy out of force when they end, also while the CA is away. */
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { TrustState } from './trust-state.ts';

type Ends = Pick<TrustState, 'policy' | 'ends' | 'refresh'>;

interface EndsDeps {
  readonly clock: Clock;
  readonly log: Log;
}

/** A clock that was set back may bring a resource back. */
const LOOK_SECONDS = 60;

/** Works until the signal; resolves then. Logs what a change of the policy could not do. */
export async function watchEnds(state: Ends, { clock, log }: EndsDeps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const changed = new AbortController();
    const stop = state.policy.onChange(() => changed.abort());
    // Rejects where another policy is in force, or the signal has come.
    const isDue = await nextLook(state, clock, AbortSignal.any([signal, changed.signal])).then(
      () => true,
      () => false,
    );
    stop();
    try {
      if (isDue) state.refresh();
    } catch (error) {
      log.error({ err: error }, 'a resource has ended, and not all that depends on it could be told');
    }
  }
}

async function nextLook({ ends }: Ends, clock: Clock, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const now = clock.now();
  const next = ends().filter((end) => end > now);
  const look = addSeconds(now, LOOK_SECONDS).getTime();
  if (ends().length > 0)
    return clock.sleepUntil(new Date(Math.min(look, ...next.map((end) => end.getTime()))), signal);
  await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
}
