/**
 * Gives memory that is free inside the process back to the system, after each full collection of garbage: glibc keeps
 * the pages of small buffers, so that a flood would show in the resident size for ever (malloc_trim(3)).
 */
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { openLibc } from './libc.ts';

/** Under a flood many collections follow each other. */
const PAUSE_MS = 10_000;

/**
 * Does so until `signal` is aborted, on a thread of libuv's pool, and keeps no process alive. Does nothing where there
 * is no glibc.
 */
export function giveBackFreedMemory(signal: AbortSignal): void {
  const trim = trimmer();
  if (trim === undefined || signal.aborted) return;
  let waiting: NodeJS.Timeout | undefined;
  let trimmedMs = Number.NEGATIVE_INFINITY;
  const collected = (): void => {
    if (waiting !== undefined) return;
    const pause = Math.max(0, trimmedMs + PAUSE_MS - performance.now());
    waiting = setTimeout(() => {
      waiting = undefined;
      trimmedMs = performance.now();
      trim();
    }, pause).unref();
  };
  const observer = new PerformanceObserver((list) => {
    if (list.getEntries().some(isFull)) collected();
  });
  observer.observe({ entryTypes: ['gc'] });
  const stop = (): void => {
    observer.disconnect();
    clearTimeout(waiting);
  };
  signal.addEventListener('abort', stop, { once: true });
}

/** Its declaration does not know `detail`; its documentation does. */
const isFull = (entry: PerformanceEntry & { readonly detail?: { readonly kind?: number } }): boolean =>
  entry.detail?.kind === constants.NODE_PERFORMANCE_GC_MAJOR;

function trimmer(): (() => void) | undefined {
  try {
    const trim = openLibc().func('int malloc_trim(size_t)');
    return () => trim.async(0, () => {});
  } catch {
    return undefined;
  }
}
