/**
 * Returns free memory of this process to the system after each full garbage collection (malloc_trim(3)). glibc keeps
 * the pages of small buffers; the resident size would stay as large as a flood has made it.
 */
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { openLibc } from './libc.ts';

/** At most one trim in this time: under a flood, collections follow each other closely. */
const PAUSE_MS = 10_000;

/** Runs until `signal` aborts, on a thread of libuv's pool, and keeps no process alive. Does nothing without glibc. */
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

/** `detail` is documented, but missing in its type. */
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
