/** Takes resources of the policy out of force when they end, also while the CA is away. */
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import type { TrustState } from './trust-state.ts';

type Ends = Pick<TrustState, 'policy' | 'ends' | 'refresh'>;

/** A clock that was set back may bring a resource back. */
const LOOK_SECONDS = 60;

/** Works until the signal; resolves then. */
export async function watchEnds(state: Ends, clock: Clock, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const changed = new AbortController();
    const stop = state.policy.onChange(() => changed.abort());
    try {
      await nextLook(state, clock, AbortSignal.any([signal, changed.signal]));
      state.refresh();
    } catch {
      // Another policy is in force, or the signal has come: both waits reject for nothing else.
    } finally {
      stop();
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
