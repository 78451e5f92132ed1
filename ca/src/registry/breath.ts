/** Long work in slices, so that the calls of others are answered meanwhile. */

const SLICE_MS = 10;

/** One for each piece of long work, which awaits `take` between its steps. */
export class Breath {
  #since = performance.now();

  /** Resolves at once, or after whatever else waits where the slice is over. */
  async take(): Promise<void> {
    if (performance.now() - this.#since < SLICE_MS) return;
    await new Promise((resolve) => void setImmediate(resolve));
    this.#since = performance.now();
  }
}
