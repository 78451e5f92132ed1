/**
 * Whether the wall clock went as time did since the CA started. One that leapt ahead makes every certificate look as if
 * it had ended, and what is removed then cannot be taken back.
 */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';

/** Time services correct a clock by less than this, and certificates renew long before their last minute. */
const MAX_LEAP_SECONDS = 60;

/** `cautious` is that of the CA since it started. The function throws rotation where the clock leapt ahead of it. */
export function steadyClock(clock: Pick<Clock, 'now'>, cautious: () => Date): () => void {
  return () => {
    const ahead = Math.round((clock.now().getTime() - cautious().getTime()) / 1000);
    const says = `this machine's clock went ahead by ${ahead} s more than has passed since the CA started`;
    const next = 'if it is right now, restart the CA and try again; if not, set it right first';
    ensure(ahead <= MAX_LEAP_SECONDS, 'rotation', `${says}, so certificates may seem to have ended: ${next}`);
  };
}
