/** What must be taken back in memory where a transaction is not committed. */
export class Undo {
  readonly #steps: (() => void)[] = [];

  /** Notes how to take back the change that was just made in memory. */
  add(step: () => void): void {
    this.#steps.push(step);
  }

  /** How many steps there are, to come back to. */
  mark(): number {
    return this.#steps.length;
  }

  /** Takes back, newest first, until so many steps are left. */
  backTo(mark: number): void {
    for (const step of this.#steps.splice(mark).reverse()) step();
  }

  /** The transaction is committed. */
  keep(): void {
    this.#steps.length = 0;
  }
}
