/** What a CA that was restored from a backup hears of the life before it. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { CaSettings } from './config.ts';
import type { OpenLog } from './open-log.ts';
import { Recovery } from './recovery/recovery.ts';
import { gatewaysOf } from './registry/policy-view.ts';
import type { Registry } from './registry/registry.ts';
import type { Revocations } from './revocation/revocations.ts';
import type { Store } from './store/store.ts';

export interface RecoveryRooms {
  readonly store: Store;
  readonly auditLog: Pick<OpenLog, 'verifier'>;
  readonly registry: Registry;
  readonly revocations: Revocations;
  readonly clock: Clock;
  readonly log: Log;
}

/** Needs no closing. Throws store. */
export const openRecovery = (settings: CaSettings, rooms: RecoveryRooms): Promise<Recovery> =>
  Recovery.open({
    ...rooms,
    verifier: rooms.auditLog.verifier,
    gateways: () => gatewaysOf(rooms.registry.sets.current()),
    longestSeconds: settings.intermediateTtl,
  });
