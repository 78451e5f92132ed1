/**
 * Tells the operator of records from the future. Certificates are checked by today's clock, whether the clock was wrong
 * then or is wrong now.
 */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { AuditIntake } from './store.ts';

const TOLERANCE_SECONDS = 60;

export interface ClockWarningDeps {
  readonly clock: Clock;
  readonly store: Pick<AuditIntake, 'newestRecordAt'>;
  readonly log: Log;
}

/** Logs one warning, or nothing. Asks the store once. */
export async function tellOfClock({ clock, store, log }: ClockWarningDeps): Promise<void> {
  const now = clock.now();
  const newest = await store.newestRecordAt();
  const says = clockWarning(newest, now);
  if (says !== undefined) log.warn({ newest, now, aheadSeconds: secondsAhead(newest, now) }, says);
}

const secondsAhead = (newest: Date | undefined, now: Date): number =>
  newest === undefined ? 0 : Math.round((newest.getTime() - now.getTime()) / 1000);

/** A record from the future: the clock was ahead then, or is behind now, and certificates go by it either way. */
export function clockWarning(newest: Date | undefined, now: Date): string | undefined {
  if (secondsAhead(newest, now) <= TOLERANCE_SECONDS) return undefined;
  return 'the newest record is in the future: the clock was ahead then or is behind now; set the clock';
}
