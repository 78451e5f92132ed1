/**
 * What the CA does for itself while it serves: its own certificate, its authorities, records of long ago; and why it
 * cannot do its work now.
 */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Authorities } from './authority/authorities.ts';
import { type JwtKeyDeps, settleJwtKey } from './jwt/keys.ts';
import { type Standstill, saysStandstill } from './log/sequencer.ts';
import type { OwnCertificate } from './own-certificate.ts';
import type { Revocations } from './revocation/revocations.ts';
import { KEPT_EXPIRED_MS } from './store/kept.ts';
import type { AuditIntake, CertificateStore, Store } from './store/store.ts';

/** How often the CA looks whether something of its own is due; everything it renews has hours left then. */
const UPKEEP_SECONDS = 60;

export interface UpkeepDeps extends JwtKeyDeps {
  readonly clock: Clock;
  /** The time that decides what is old: a clock that leaps ahead must not remove what is not. */
  readonly cautious: () => Date;
  readonly log: Log;
  readonly authorities: Authorities;
  readonly revocations: Revocations;
  readonly store: JwtKeyDeps['store'] & CertificateStore & Pick<AuditIntake, 'appendSoon'>;
  readonly own: OwnCertificate;
  readonly requests: { keepUp(): Promise<void> };
}

/** Works until it is closed, logs what fails, and tries again. `close` waits for the work under way. */
export function startUpkeep(deps: UpkeepDeps): { close(): Promise<void> } {
  const stop = new AbortController();
  const upkeep = keepUp(deps, stop.signal);
  // At once: agents have left the connections of a revoked certificate by then, and dial again.
  const unlisten = deps.revocations.sets.onChange(() => {
    deps.own
      .settle()
      .catch((error: unknown) =>
        deps.log.error({ err: error }, 'the certificate of the CA is revoked and could not be replaced yet'),
      );
  });
  // At once: another process has removed the root that it is under, or the first intermediate has come.
  const unfollow = deps.authorities.records.onChange(() => {
    deps.own
      .settle()
      .catch((error: unknown) =>
        deps.log.error(
          { err: error },
          'the authorities changed, and the certificate of the CA could not be looked at yet',
        ),
      );
  });
  return {
    close: () => {
      unlisten();
      unfollow();
      stop.abort();
      return upkeep;
    },
  };
}

/** Some at a time: what asks the store meanwhile is answered in between. */
async function prune({ cautious, store }: UpkeepDeps, signal: AbortSignal): Promise<void> {
  const before = new Date(cautious().getTime() - KEPT_EXPIRED_MS);
  while (!signal.aborted && (await store.prune(before)) > 0);
}

/** Renews what is the CA's own before it has to be, and forgets what expired long ago. */
async function keepUp(deps: UpkeepDeps, signal: AbortSignal): Promise<void> {
  const { clock, log, authorities, own, requests } = deps;
  // What fails, since the home of one key is away for days, keeps none of the others from being done.
  const duties: readonly (() => Promise<unknown>)[] = [
    () => settleJwtKey(deps),
    () => authorities.refresh(),
    () => own.settle(),
    () => requests.keepUp(),
    () => prune(deps, signal),
  ];
  while (!signal.aborted) {
    await clock.sleepUntil(new Date(clock.now().getTime() + UPKEEP_SECONDS * 1000), signal).catch(() => {});
    for (const duty of duties) {
      if (signal.aborted) return;
      await duty().catch((error: unknown) =>
        log.error({ err: error }, 'upkeep failed; it is tried again in a minute'),
      );
    }
  }
}

/** A database that owes an answer for so long has a disk that an operator must look at. */
const STUCK_SECONDS = 10;

export interface UnfitDeps {
  readonly clock: Clock;
  readonly store: Pick<Store, 'ensureOwnFiles' | 'waitedSeconds'>;
}

/** A sentence for /readyz of a CA that issues all the same; undefined if all works. */
export const whyImpaired = (standstill: Standstill | undefined): string | undefined =>
  standstill && saysStandstill(standstill);

/** A sentence for /readyz; undefined if the CA can issue and be reached. */
export function whyUnfit(
  { clock, store }: UnfitDeps,
  authorities: Pick<Authorities, 'issuer'>,
  own: Pick<OwnCertificate, 'whyUnfit'>,
): string | undefined {
  try {
    store.ensureOwnFiles();
    const waited = store.waitedSeconds();
    const stuck = `the database has not answered for ${Math.round(waited)} s: its disk is slow or stuck`;
    ensure(waited < STUCK_SECONDS, 'store', stuck);
    const { signer } = authorities.issuer(clock.now());
    return signer.unable?.() ?? own.whyUnfit(clock.now());
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return error.message;
  }
}
