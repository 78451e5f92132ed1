/**
 * Time limits of one length for any number of things. What began first ends first, so one sleeper does for all, and to
 * begin and to stop cost no timer.
 */
import type { Clock } from '../ground/clock.ts';

interface Entry {
  /** When it began, in milliseconds since 1970. */
  at: number;
  readonly pass: () => void;
}

/** Limits of `ms` milliseconds each. It sleeps only while one runs, so it needs no closing. */
export class Deadlines {
  readonly ms: number;
  readonly #clock: Clock;
  /** In the order in which they began. */
  readonly #entries = new Set<Entry>();
  #awake: AbortController | undefined;

  constructor(ms: number, clock: Clock) {
    this.ms = ms;
    this.#clock = clock;
  }

  /** Calls `pass` after `ms`, unless the returned function is called before. It may be called twice. */
  start(pass: () => void): () => void {
    const entry = { at: this.#clock.now().getTime(), pass };
    this.#entries.add(entry);
    if (this.#awake === undefined) void this.#watch();
    return () => {
      this.#entries.delete(entry);
      if (this.#entries.size === 0) this.#awake?.abort();
    };
  }

  async #watch(): Promise<void> {
    const awake = new AbortController();
    this.#awake = awake;
    for (let [first] = this.#entries; first !== undefined; [first] = this.#entries) {
      try {
        await this.#clock.sleepUntil(new Date(first.at + this.ms), awake.signal);
      } catch {
        // Nothing was left; something may have begun since.
        break;
      }
      this.#passLate();
    }
    this.#awake = undefined;
    if (this.#entries.size > 0) void this.#watch();
  }

  #passLate(): void {
    const now = this.#clock.now().getTime();
    for (const entry of this.#entries) {
      // The wall clock was set back: it begins anew, instead of lasting as much longer.
      if (entry.at > now) entry.at = now;
      if (entry.at + this.ms > now) continue;
      this.#entries.delete(entry);
      entry.pass();
    }
  }
}
