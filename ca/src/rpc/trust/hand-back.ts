/** Trust.HandBack: what agents know of the life of the CA before a restore. */
import { TrustService } from '@chancery/proto/gen/chancery/v1/trust.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Limits } from '../../door/limits.ts';
import type { Recovery } from '../../recovery/recovery.ts';
import { callerKey, limitKeys, standingOf } from '../caller.ts';
import { unary } from '../methods.ts';

export interface HandBackDeps {
  readonly recovery: Pick<Recovery, 'take' | 'isListening'>;
  readonly limits: Limits;
  readonly clock: Clock;
}

/** Anyone may call it: what is handed back proves itself. Throws rate, tlog, revocation, store. */
export const handBack = ({ recovery, limits, clock }: HandBackDeps) =>
  unary('HandBack', TrustService.handBack, async ({ revocations, checkpoint }, caller) => {
    limits.call('HandBack', callerKey(caller, clock.now()));
    const { svid } = standingOf(caller, clock.now());
    const handed = { note: revocations?.note ?? '', list: revocations?.list ?? [], checkpoint };
    const bringer = { by: svid?.id ?? limitKeys(caller).address, id: svid?.id };
    return { wantsRevocations: await recovery.take(handed, bringer) };
  });
