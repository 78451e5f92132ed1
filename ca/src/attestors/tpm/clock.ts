/** A TPM's own counters, which only grow: a machine put back to a snapshot shows in them. */
import { ensure } from '@chancery/shared/errors.ts';
import type { ClockInfo } from '@chancery/shared/tpm/attest.ts';

/** Part 1, Clock: it is stored at least this often, so a power cut loses no more. */
const MAX_LOST_MS = 2n ** 22n;

/**
 * The state to remember after `now`, given the one before; throws rollback. TPM2_Clear starts the counters anew: a
 * cleared TPM is another machine to us until the operator says otherwise.
 */
export function advanceClock(previous: string | undefined, now: ClockInfo): string {
  if (previous !== undefined) ensureNoRollback(readState(previous), now);
  return `${now.resetCount}/${now.restartCount}/${now.clock}`;
}

type State = Omit<ClockInfo, 'safe'>;

function ensureNoRollback(before: State, now: ClockInfo): void {
  const { resetCount, restartCount, clock } = now;
  ensure(resetCount >= before.resetCount, 'rollback', `resets go from ${before.resetCount} to ${resetCount}`);
  const resumed = resetCount > before.resetCount || restartCount >= before.restartCount;
  ensure(resumed, 'rollback', `restarts go from ${before.restartCount} to ${restartCount}`);
  // After a power cut, which is a reset, the clock is unsafe: it may repeat what it lost.
  const lost = resetCount > before.resetCount && !now.safe ? MAX_LOST_MS : 0n;
  ensure(clock + lost >= before.clock, 'rollback', `the clock goes from ${before.clock} to ${clock}`);
}

function readState(text: string): State {
  const [resetCount = '', restartCount = '', clock = ''] = text.split('/');
  return { resetCount: Number(resetCount), restartCount: Number(restartCount), clock: BigInt(clock) };
}
