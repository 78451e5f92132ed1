/**
 * What the newest record says of the clock. Certificates are checked by today's clock, whether the clock was wrong then
 * or is wrong now; what is removed because it is old does not come back, so it stays until somebody could have looked.
 */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { AuditIntake } from './store.ts';

const TOLERANCE_SECONDS = 60;
/** A CA that runs writes records each day, at least of its own certificate. */
const GAP_SECONDS = 3 * 86_400;
const FIRST_HOUR_MS = 3600_000;
const NEVER = new Date(0);

export interface FirstHourDeps {
  readonly clock: Pick<Clock, 'now'>;
  /** The time that decides what is old, after the first hour. */
  readonly cautious: () => Date;
  readonly store: Pick<AuditIntake, 'newestRecordAt'>;
  readonly log: Log;
}

/** The first hour of a CA that serves. */
export interface FirstHour {
  /** The time that decides what is old: nothing is during the first hour, whatever the clock says. */
  readonly cautious: () => Date;
  /** How old the newest record was at the start; undefined without one, and after the hour. */
  readonly gapSeconds: () => number | undefined;
  /** What an operator should look at; undefined if nothing, and after the hour. */
  readonly doubt: () => string | undefined;
}

/** Logs one warning, or nothing. Asks the store once. `monotonic` gives milliseconds that only grow. */
export async function openFirstHour(
  { clock, cautious, store, log }: FirstHourDeps,
  monotonic = () => performance.now(),
): Promise<FirstHour> {
  const [begun, now] = [monotonic(), clock.now()];
  const newest = await store.newestRecordAt();
  const says = clockWarning(newest, now);
  const aheadSeconds = secondsAhead(newest, now);
  if (says !== undefined) log.warn({ newest, now, aheadSeconds }, says);
  const isOver = (): boolean => monotonic() - begun >= FIRST_HOUR_MS;
  return {
    cautious: () => (isOver() ? cautious() : NEVER),
    gapSeconds: () => (newest === undefined || isOver() ? undefined : Math.max(0, -aheadSeconds)),
    doubt: () => (isOver() ? undefined : says),
  };
}

const secondsAhead = (newest: Date | undefined, now: Date): number =>
  newest === undefined ? 0 : Math.round((newest.getTime() - now.getTime()) / 1000);

/**
 * A record from the future: the clock was ahead then, or is behind now, and certificates go by it either way. Or the
 * newest one is old: the CA was off, or the clock is ahead now.
 */
export function clockWarning(newest: Date | undefined, now: Date): string | undefined {
  const ahead = secondsAhead(newest, now);
  if (ahead > TOLERANCE_SECONDS)
    return 'the newest record is in the future: the clock was ahead then or is behind now; set the clock';
  if (-ahead <= GAP_SECONDS) return undefined;
  const old = `the newest record is ${Math.floor(-ahead / 86_400)} days old`;
  const why = 'this CA was off for so long, or the clock is ahead';
  return `${old}: ${why}; compare it (date -u): a CA that serves removes what is old after its first hour`;
}
