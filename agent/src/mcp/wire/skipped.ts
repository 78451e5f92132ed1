/**
 * Logs skipped output of a server that is not a message. Only the first is a warning, because some servers log all day.
 */
import type { Log } from '@chancery/shared/ground/log.ts';

/** `whose` names the server in the log. Call it once for each server: it remembers whether it has warned. */
export function skippedLog(log: Log, whose: string): (what: string) => void {
  let warned = false;
  return (what) => {
    const says = `skipped output of ${whose}; more of it is logged at debug level only`;
    if (warned) log.debug({ what }, says);
    else log.warn({ what }, says);
    warned = true;
  };
}
