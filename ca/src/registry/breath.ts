/** Runs long work in slices, so that other calls are answered in between. */

const SLICE_MS = 10;

/** One for each long task, which awaits `take` between its steps. */
export class Breath {
  #since = performance.now();

  /** Resolves at once; when the slice is over, after other waiting work. */
  async take(): Promise<void> {
    if (performance.now() - this.#since < SLICE_MS) return;
    await new Promise((resolve) => void setImmediate(resolve));
    this.#since = performance.now();
  }
}
