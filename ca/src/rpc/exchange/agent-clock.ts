/** An agent whose clock differs from the CA's, by the time in its hello: an operator is told, nothing else follows. */
import { BACKDATE_SECONDS } from '../../authority/profile.ts';

/** As at the agent: a clock ahead makes it renew more often, and only that. */
const AHEAD_SECONDS = 60;

/**
 * A sentence for the log; undefined if the difference is harmless. `told` is the agent's time, seconds since 1970; 0 if
 * it does not tell.
 */
export function clockProblem(told: bigint, arrived: Date): string | undefined {
  if (told === 0n) return undefined;
  const ahead = Math.round(Number(told) - arrived.getTime() / 1000);
  if (ahead > AHEAD_SECONDS) return `the agent's clock is ${ahead} s ahead of this CA's: set it`;
  if (ahead >= -BACKDATE_SECONDS) return undefined;
  const waits =
    'it takes a new certificate only when that is valid by its clock, and refuses new ones of others';
  return `the agent's clock is ${-ahead} s behind this CA's: ${waits} until then; set it`;
}
