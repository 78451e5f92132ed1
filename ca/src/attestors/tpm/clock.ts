/** A TPM's counters, which only grow: they reveal a machine that was restored from a snapshot. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { ClockInfo } from '@chancery/shared/tpm/attest.ts';

/**
 * Part 1, Clock: it is stored at least this often, so a power cut loses no more. A software TPM that is killed may lose
 * all since its last orderly shutdown (swtpm 0.7 does), and is refused until its clock has passed what was seen.
 */
const MAX_LOST_MS = 2n ** 22n;

const OLDER = 'the TPM was put back to an older state, or cleared';
const FORGET = 'accepted again when the operator makes the CA forget this TPM';

/**
 * The state to remember after `now`, given the previous one. Throws rollback. TPM2_Clear resets the counters: a cleared
 * TPM is refused until the operator allows it.
 */
export function advanceClock(previous: string | undefined, now: ClockInfo): string {
  if (previous !== undefined) ensureNoRollback(readState(previous), now);
  return `${now.resetCount}/${now.restartCount}/${now.clock}`;
}

type State = Omit<ClockInfo, 'safe'>;

function ensureNoRollback(before: State, now: ClockInfo): void {
  const { resetCount, restartCount, clock } = now;
  const resets = `resets go from ${before.resetCount} to ${resetCount}: ${OLDER}; ${FORGET}`;
  ensure(resetCount >= before.resetCount, 'rollback', resets);
  const resumed = resetCount > before.resetCount || restartCount >= before.restartCount;
  const restarts = `restarts go from ${before.restartCount} to ${restartCount}: ${OLDER}; ${FORGET}`;
  ensure(resumed, 'rollback', restarts);
  // After a power cut, which is a reset, the clock is unsafe: it may repeat what it lost.
  const lost = resetCount > before.resetCount && !now.safe ? MAX_LOST_MS : 0n;
  ensure(clock + lost >= before.clock, 'rollback', clockRefusal(before, now));
}

function clockRefusal(before: State, { resetCount, clock }: ClockInfo): string {
  const killed = resetCount > before.resetCount ? ', or it is a software TPM that was killed' : '';
  const seconds = (before.clock - clock) / 1000n + 1n;
  const lasts = `accepted again after the TPM has run for ${seconds} s more, or its owner has set its clock`;
  return `the clock goes from ${before.clock} to ${clock} ms: ${OLDER}${killed}; ${lasts}`;
}

function readState(text: string): State {
  const [resetCount = '', restartCount = '', clock = ''] = text.split('/');
  return { resetCount: Number(resetCount), restartCount: Number(restartCount), clock: BigInt(clock) };
}
