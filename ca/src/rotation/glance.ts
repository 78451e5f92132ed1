/** Where a rotation stands, for the metrics. */
import { type Clock, isRecent } from '@chancery/shared/ground/clock.ts';
import type { Stage } from './stage.ts';
import { type Found, totalOf } from './status.ts';

/** What the metrics show. */
export interface Glance {
  readonly stage: Stage;
  /** How many connected agents have not acknowledged what is published. */
  readonly stragglers: number;
  /** Unexpired certificates that the next step waits for. */
  readonly certificates: number;
}

const GLANCE_SECONDS = 30;

type Status = Pick<Found, 'stragglers' | 'unheard' | 'chained'> & { readonly stage: Stage };

/** Counts at most every 30 s: a scrape must not cost the store a look at all certificates. Throws store. */
export function glanceOf(clock: Pick<Clock, 'now'>, statusNow: () => Promise<Status>): () => Promise<Glance> {
  let known: { readonly at: Date; readonly glance: Promise<Glance> } | undefined;
  return () => {
    const at = clock.now();
    if (known !== undefined && isRecent(known.at, GLANCE_SECONDS, at)) return known.glance;
    const glance = statusNow().then(({ stage, stragglers, unheard, chained }) => ({
      stage,
      stragglers: stragglers.length,
      certificates: totalOf([...unheard, ...chained]).certificates,
    }));
    known = { at, glance };
    return glance;
  };
}
