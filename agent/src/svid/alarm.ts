/** Logs for an operator that an SVID cannot be renewed. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';

export interface AlarmDeps {
  readonly svid: { readonly notAfter: Date };
  readonly clock: Clock;
  readonly log: Log;
}

/** Returns the reason, for the status. */
export function alarm(error: unknown, failures: number, { svid, clock, log }: AlarmDeps): string {
  const leftSeconds = Math.round((svid.notAfter.getTime() - clock.now().getTime()) / 1000);
  const says =
    leftSeconds > 0
      ? 'the SVID could not be renewed; it serves until it expires'
      : 'the SVID has expired and could not be replaced; every peer refuses it now';
  log.error({ err: error, failures, leftSeconds }, says);
  return error instanceof Error ? error.message : String(error);
}

/**
 * Logs that an SVID expired unnoticed: the machine slept, or its clock was set. Returns the reason, as `alarm` does.
 */
export function expiredUnnoticed({ svid, clock, log }: AlarmDeps): string {
  const expiredSeconds = Math.round((clock.now().getTime() - svid.notAfter.getTime()) / 1000);
  const says =
    'the SVID expired before it was renewed: this machine slept or its clock was set; renewing now';
  log.warn({ expiredSeconds }, says);
  return says;
}
