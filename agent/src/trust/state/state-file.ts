/**
 * The file that an agent starts from. It is written beside the event loop: a disk that takes a second to sync must not
 * hold up the calls of a gateway.
 */
import { type KnownGood, saveKnownGood } from './last-known-good.ts';

/** One for each agent. The owner waits for `idle` before the process ends. */
export class StateFile {
  readonly #write: (known: KnownGood) => Promise<void>;
  /** The newest that waits for the write before it, and who waits for it. */
  #next: { known: KnownGood; readonly done: PromiseWithResolvers<void> } | undefined;
  #writing: Promise<void> | undefined;

  constructor(path: string, write = (known: KnownGood) => saveKnownGood(path, known)) {
    this.#write = write;
  }

  /**
   * Resolves when this or a newer one is on disk. Of several that come during one write only the newest is written.
   * Rejects with file.
   */
  save(known: KnownGood): Promise<void> {
    if (this.#next === undefined) this.#next = { known, done: Promise.withResolvers() };
    else this.#next.known = known;
    const { promise } = this.#next.done;
    this.#writing ??= this.#writeAll();
    return promise;
  }

  /** Resolves when nothing is written or waits any more. */
  async idle(): Promise<void> {
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    for (let next = this.#next; next !== undefined; next = this.#next) {
      this.#next = undefined;
      await this.#write(next.known).then(next.done.resolve, next.done.reject);
    }
    this.#writing = undefined;
  }
}
