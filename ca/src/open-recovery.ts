/** What a CA that was restored from a backup hears of the life before it. */
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Authorities } from './authority/authorities.ts';
import type { CaSettings } from './config.ts';
import { type JwtKeyDeps, settleJwtKey } from './jwt/keys.ts';
import type { OpenLog } from './open-log.ts';
import type { OwnCertificate } from './own-certificate.ts';
import { Recovery } from './recovery/recovery.ts';
import { gatewaysOf } from './registry/policy-view.ts';
import type { Registry } from './registry/registry.ts';
import type { Revocations } from './revocation/revocations.ts';
import type { Store } from './store/store.ts';

export interface RecoveryRooms extends JwtKeyDeps {
  readonly store: Store;
  readonly authorities: Authorities;
  readonly own: OwnCertificate;
  readonly auditLog: Pick<OpenLog, 'verifier'>;
  readonly registry: Registry;
  readonly revocations: Revocations;
  readonly log: Log;
}

/** Needs no closing. Throws store. */
export const openRecovery = (settings: CaSettings, rooms: RecoveryRooms): Promise<Recovery> =>
  Recovery.open({
    ...rooms,
    authorities: rooms.authorities.records,
    bundle: rooms.authorities.bundle,
    settle: async () => {
      await settleJwtKey(rooms);
      await rooms.authorities.refresh();
      await rooms.own.settle();
    },
    verifier: rooms.auditLog.verifier,
    gateways: () => gatewaysOf(rooms.registry.sets.current()),
    longestSeconds: settings.intermediateTtl,
  });
