/** A value that changes while the process runs: the current SVID, bundle or policy. */
export interface Source<T> {
  /** The newest value. Throws a refusal while there is none. */
  current(): T;
  /** Calls `listener` after each change, synchronously, until the returned function is called. */
  onChange(listener: (value: T) => void): () => void;
}

/** A source, with the method that sets it. */
export class LiveValue<T> implements Source<T> {
  readonly #listeners = new Set<(value: T) => void>();
  readonly #missing: () => Error;
  #value: T | undefined;

  /** `missing` makes the error that `current` throws until the first `publish`. */
  constructor(missing: () => Error, first?: T) {
    this.#missing = missing;
    this.#value = first;
  }

  /** The newest value. Throws what `missing` returns while there is none. */
  current(): T {
    if (this.#value === undefined) throw this.#missing();
    return this.#value;
  }

  /** Whether there is a value. */
  has(): boolean {
    return this.#value !== undefined;
  }

  /** Calls `listener` with each new value, until the returned function is called. */
  onChange(listener: (value: T) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Sets the value and calls the listeners, in the order in which they were added. */
  publish(value: T): void {
    this.#value = value;
    for (const listener of [...this.#listeners]) listener(value);
  }
}
