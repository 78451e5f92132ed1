/**
 * Fills the index of audit events while the CA serves, in steps between which the store does other work: the newest
 * events within a second or two, and those of a database that had no index, from the oldest on.
 */
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { LogStore } from '../store/log-store.ts';

export interface IndexerDeps {
  readonly store: Pick<LogStore, 'indexEvents'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Events of one step: the store ends it earlier where they have many words or bytes. */
const STEP = 500;
/** Between two steps where there is more: at least half of the database's time is for others. */
const BREATH_SECONDS = 0.01;
const PAUSE_SECONDS = 1;
/** After a failure. */
const RETRY_SECONDS = 5;

/** Works until it is closed; logs what fails once, and tries again. `close` waits for the step under way. */
export function startIndexer({ store, clock, log }: IndexerDeps): { close(): Promise<void> } {
  const stop = new AbortController();
  const fill = async (): Promise<void> => {
    let failing: string | undefined;
    while (!stop.signal.aborted) {
      let pause = PAUSE_SECONDS;
      try {
        if (await store.indexEvents(STEP)) pause = BREATH_SECONDS;
        failing = undefined;
      } catch (error) {
        if (stop.signal.aborted) return;
        pause = RETRY_SECONDS;
        const says = error instanceof Error ? error.message : String(error);
        if (says !== failing)
          log.error(
            { err: error },
            'the index of the audit log does not grow; queries read what it does not have',
          );
        failing = says;
      }
      await clock.sleepUntil(addSeconds(clock.now(), pause), stop.signal).catch(() => {});
    }
  };
  const filling = fill();
  return {
    close: () => {
      stop.abort();
      return filling;
    },
  };
}
