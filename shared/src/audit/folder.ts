/**
 * Folds repeated events: the first of a kind is recorded in full and at once, those after it in the same window are
 * counted, and the window ends with one record that is the last of them with their number. What one source can cause to
 * be written is bounded by time, whatever it sends.
 *
 * A source causes events: a caller, an address. Each has a bounded number of kinds, and the folder a bounded number of
 * sources; what is beyond either is one kind, or one source, together. So one source's variety does not hide another's
 * events.
 */
import type { Clock } from '../ground/clock.ts';

export interface Folded {
  /** How many events the record stands for: those of the window since its first. */
  readonly count: number;
  readonly since: Date;
}

export interface FolderOptions<E> {
  readonly clock: Clock;
  /** Writes one event. `folded` is there where it stands for several. May throw, which `add` passes on. */
  readonly write: (event: E, folded: Folded | undefined) => void;
  /** Called where a counted record could not be written, which nobody waits for. */
  readonly onLost: (error: unknown, lost: Folded) => void;
  /** Events of a kind that are written in full in each window (default: 1). */
  readonly inFull?: number;
  readonly windowSeconds?: number;
  readonly maxSources?: number;
  readonly maxKinds?: number;
}

interface Window<E> {
  readonly first: string;
  since: Date;
  full: number;
  count: number;
  last: E;
}

const OTHERS = '';

/**
 * Records the first event of each kind, and counts those after it. `close` writes what is counted; after that, every
 * event is written in full.
 */
export class Folder<E extends { readonly id: string }> {
  readonly #options: Required<FolderOptions<E>>;
  readonly #bySource = new Map<string, Map<string, Window<E>>>();
  readonly #closed = new AbortController();
  #sleeping = false;

  constructor(options: FolderOptions<E>) {
    this.#options = { inFull: 1, windowSeconds: 60, maxSources: 1_000, maxKinds: 32, ...options };
  }

  /** The id of the record that was written in full: the event's own, or that of the first of its window. */
  add({ source, kind }: { source: string; kind: string }, event: E): string {
    if (this.#closed.signal.aborted) {
      this.#options.write(event, undefined);
      return event.id;
    }
    const windows = this.#windowsOf(source);
    const name = windows.has(kind) || windows.size < this.#options.maxKinds ? kind : OTHERS;
    const open = windows.get(name);
    if (open !== undefined && open.full < this.#options.inFull) {
      this.#options.write(event, undefined);
      open.full += 1;
      return event.id;
    }
    if (open !== undefined) {
      open.count += 1;
      open.last = event;
      return open.first;
    }
    this.#options.write(event, undefined);
    windows.set(name, { first: event.id, since: this.#options.clock.now(), full: 1, count: 0, last: event });
    void this.#sweep();
    return event.id;
  }

  /** The name under which the events of this source are kept now: its own, or that of all beyond the bound. */
  sourceOf(source: string): string {
    const { maxSources } = this.#options;
    return this.#bySource.has(source) || this.#bySource.size < maxSources ? source : OTHERS;
  }

  /** Writes what is counted and not yet written; what comes later is written in full. */
  close(): void {
    this.#closed.abort();
    this.#end(() => true);
  }

  #windowsOf(source: string): Map<string, Window<E>> {
    const name = this.sourceOf(source);
    const windows = this.#bySource.get(name) ?? new Map<string, Window<E>>();
    this.#bySource.set(name, windows);
    return windows;
  }

  /** One timer for all windows, and none while nothing is open: a window is as long as said, and up to twice that. */
  async #sweep(): Promise<void> {
    if (this.#sleeping) return;
    this.#sleeping = true;
    const { clock, windowSeconds } = this.#options;
    try {
      while (this.#bySource.size > 0) {
        await clock.sleepUntil(new Date(clock.now().getTime() + windowSeconds * 1000), this.#closed.signal);
        const now = clock.now().getTime();
        // A clock that was set back ends every window: none may stay open for as long as that was.
        this.#end(({ since }) => {
          const age = now - since.getTime();
          return age < 0 || age >= windowSeconds * 1000;
        });
      }
    } catch {
      // Closed.
    }
    this.#sleeping = false;
  }

  #end(over: (window: Window<E>) => boolean): void {
    for (const [source, windows] of this.#bySource) {
      for (const [kind, window] of windows) if (over(window)) this.#endWindow(windows, kind, window);
      if (windows.size === 0) this.#bySource.delete(source);
    }
  }

  /** One that had repeats continues, so that a steady source gets one record a window and no second full one. */
  #endWindow(windows: Map<string, Window<E>>, kind: string, window: Window<E>): void {
    const { count, since, last } = window;
    if (count === 0) {
      windows.delete(kind);
      return;
    }
    window.count = 0;
    window.since = this.#options.clock.now();
    try {
      this.#options.write(last, { count, since });
    } catch (error) {
      this.#options.onLost(error, { count, since });
    }
  }
}
