/**
 * Time limits of one length. The limit that began first ends first, so one sleeper serves all, and starting or stopping
 * one costs no timer.
 */
import type { Clock } from '../ground/clock.ts';

interface Entry {
  /** When it began, in milliseconds since 1970. */
  at: number;
  readonly pass: () => void;
}

/** Limits of `ms` milliseconds each. Needs no closing: the process may end while it sleeps. */
export class Deadlines {
  readonly ms: number;
  readonly #clock: Clock;
  /** In the order in which they began. */
  readonly #entries = new Set<Entry>();
  #sleeps = false;

  constructor(ms: number, clock: Clock) {
    this.ms = ms;
    this.#clock = clock;
  }

  /** Calls `pass` after `ms`, unless the returned function is called before. It may be called twice. */
  start(pass: () => void): () => void {
    const entry = { at: this.#clock.now().getTime(), pass };
    this.#entries.add(entry);
    if (!this.#sleeps) void this.#watch();
    return () => void this.#entries.delete(entry);
  }

  /** The sleeper is not woken when the last limit stops: a call starts and stops several. */
  async #watch(): Promise<void> {
    this.#sleeps = true;
    for (let [first] = this.#entries; first !== undefined; [first] = this.#entries) {
      await this.#clock.sleepUntil(new Date(first.at + this.ms), undefined, { ref: false });
      this.#passLate();
    }
    this.#sleeps = false;
  }

  #passLate(): void {
    const now = this.#clock.now().getTime();
    for (const entry of this.#entries) {
      // If the wall clock was set back, the limit begins again instead of lasting longer by that time.
      if (entry.at > now) entry.at = now;
      if (entry.at + this.ms > now) continue;
      this.#entries.delete(entry);
      entry.pass();
    }
  }
}
