/**
 * Prunes the audit log of what is older than the config keeps, by whole tiles: first an entry says what is going to be
 * pruned, and keeps the tree of that
 * in the database; once a checkpoint covers that entry, bundles and tiles of level 0 are removed, and the events of the
 * database. Tiles above level 0 stay, so that everything after can be proved. It can end at any point, and the next
 * run goes on.
 */
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { tailOfPruned } from '@chancery/shared/tlog/read-log.ts';
import { PRUNED_TOGETHER, TILE_WIDTH, tilePath } from '@chancery/shared/tlog/tile.ts';
import type { LogStore } from '../store/log-store.ts';
import type { LogFiles } from './log-files.ts';
import { textOfTail } from './pruned-tail.ts';
import { retentionOf } from './retention.ts';

export interface PrunerDeps {
  readonly store: Pick<LogStore, 'pruning' | 'announcePruning' | 'pruneEvents' | 'checkpoint'>;
  readonly files: Pick<LogFiles, 'read' | 'remove'>;
  readonly clock: Clock;
  readonly log: Log;
  /** The time that decides what is old: a clock that leaps ahead must not remove what is not. */
  readonly cautious: () => Date;
  readonly keepSeconds: number;
}

const EVERY_SECONDS = 60;
/** Rows of each table in one transaction: a few milliseconds. */
const STEP = 1_000;

/** One pass: resolves with how many entries the log is pruned of. Throws store, and what the file system refuses. */
export async function prune(deps: PrunerDeps, signal: AbortSignal): Promise<number> {
  const { store, files, cautious, log, keepSeconds } = deps;
  const before = addSeconds(cautious(), -keepSeconds);
  const { due, ...known } = await store.pruning(before, PRUNED_TOGETHER);
  if (known.done === known.entries && due !== undefined) {
    const event = { type: 'log.pruned', entries: due.entries, before: before.toISOString() } as const;
    await store.announcePruning(known.entries, { ...due, tail: await tailOf(due.entries, deps) }, event);
  }
  const state = await store.pruning(before, PRUNED_TOGETHER);
  const covered = (await store.checkpoint())?.through ?? 0;
  if (state.done === state.entries || covered < state.announced) return state.done;
  for (let index = state.done / TILE_WIDTH; index < state.entries / TILE_WIDTH; index += 1) {
    signal.throwIfAborted();
    for (const level of ['entries', 0] as const)
      await files.remove(tilePath({ level, index, width: TILE_WIDTH }));
  }
  while (await store.pruneEvents(STEP)) signal.throwIfAborted();
  log.info({ entries: state.entries, before: before.toISOString() }, 'the audit log was pruned');
  return state.entries;
}

/** While its files are there. Throws tlog. */
async function tailOf(entries: number, { store, files }: PrunerDeps): Promise<string> {
  const size = (await store.checkpoint())?.size ?? 0;
  const tail = await tailOfPruned(entries, size, files.read);
  ensure(
    tail !== undefined,
    'tlog',
    `the files of the audit log lack a tile above its first ${entries} entries`,
  );
  return textOfTail(tail);
}

export interface Pruner {
  /** How many entries the log is pruned of; undefined before the first pass. */
  pruned(): number | undefined;
  /** When the next entries go; undefined if that is not known, as before the first pass. */
  nextAt(): Date | undefined;
  /** Waits for the work under way. */
  close(): Promise<void>;
}

/** Works until it is closed, logs what fails, and tries again. `close` waits for the work under way. */
export function startPruner(deps: PrunerDeps): Pruner {
  const { clock, log } = deps;
  const stop = new AbortController();
  let pruned: number | undefined;
  let nextAt: Date | undefined;
  const work = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await clock.sleepUntil(addSeconds(clock.now(), EVERY_SECONDS), stop.signal).catch(() => {});
      if (stop.signal.aborted) return;
      try {
        pruned = await prune(deps, stop.signal);
        ({ nextAt } = await retentionOf(deps.store, deps.keepSeconds));
      } catch (error) {
        if (!stop.signal.aborted)
          log.error({ err: error }, 'the audit log could not be pruned; it is tried again');
      }
    }
  };
  const working = work();
  return {
    pruned: () => pruned,
    nextAt: () => nextAt,
    close: () => {
      stop.abort();
      return working;
    },
  };
}
