/** What the CA could not take back at first: it is offered again while the CA is followed. */
import type { TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { backoffSeconds } from '@chancery/shared/ground/backoff.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { type Handing, handBack } from './hand-back.ts';

export interface StillOwedDeps {
  /** Of the stream that is open now. */
  readonly client: () => Pick<TrustClient, 'handBack'>;
  readonly handing: Handing;
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly log: Log;
}

/** A CA that others keep busy is not asked more often. */
const RETRY = { firstSeconds: 1, lastSeconds: 30, spread: 0.2 };

/** Resolves when the CA has it, or with the signal. Does not throw. */
export async function handBackLater(deps: StillOwedDeps, signal: AbortSignal): Promise<void> {
  const { client, handing, clock, random, log } = deps;
  log.warn({}, 'the CA has not yet taken back what it has said: it is followed, and offered that again');
  for (let failures = 1; !signal.aborted; failures += 1) {
    const pause = backoffSeconds(RETRY, failures, random());
    await clock.sleepUntil(addSeconds(clock.now(), pause), signal).catch(() => {});
    if (signal.aborted) return;
    try {
      await handBack(client(), handing, log);
      log.info({ failures }, 'the CA has what it could not take back at first');
      return;
    } catch (error) {
      log.debug({ err: error, failures }, 'the CA could not take back what it has said');
    }
  }
}
