/** What the audit log will be pruned of next, and when, for operators and metrics. */
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { PRUNED_TOGETHER } from '@chancery/shared/tlog/tile.ts';
import type { LogStore, Waiting } from '../store/log-store.ts';
import type { Standstill } from './sequencer.ts';

export interface Retention {
  /** Undefined if entries are kept for ever. */
  readonly keepSeconds: number | undefined;
  /** Entries in the log, as signed, and how many of them are gone. */
  readonly entries: number;
  readonly pruned: number;
  /** Entries that go together. */
  readonly together: number;
  /** How many more entries must come before the next can go, for the newest stay. 0 where time alone decides. */
  readonly lacking: number;
  /** When the next go; undefined if more entries are awaited, or all are kept. It may have passed: they are going. */
  readonly nextAt: Date | undefined;
}

/** The log, as an operator sees it. */
export interface LogStatus extends Retention {
  /** Events that are not in it yet. */
  readonly waiting: Waiting;
  /** Why it does not grow; undefined while it does. */
  readonly standstill: Standstill | undefined;
}

/** As it is now. Throws store. */
export const logStatusOf = async (
  store: Pick<LogStore, 'pruning' | 'checkpoint' | 'waiting'>,
  keepSeconds: number | undefined,
  standstill: Standstill | undefined,
): Promise<LogStatus> => ({
  ...(await retentionOf(store, keepSeconds)),
  waiting: await store.waiting(),
  standstill,
});

/** As it is now. Throws store. */
export async function retentionOf(
  store: Pick<LogStore, 'pruning' | 'checkpoint'>,
  keepSeconds: number | undefined,
): Promise<Retention> {
  const { done, entries, next } = await store.pruning(new Date(0), PRUNED_TOGETHER);
  const isGoing = done < entries;
  const { lacking } = next;
  const isDated = keepSeconds !== undefined && lacking === 0 && next.youngest !== undefined;
  return {
    keepSeconds,
    entries: (await store.checkpoint())?.size ?? 0,
    pruned: done,
    together: isGoing ? entries - done : PRUNED_TOGETHER,
    lacking: keepSeconds === undefined ? 0 : lacking,
    nextAt: isDated ? addSeconds(new Date(next.youngest), keepSeconds) : undefined,
  };
}
