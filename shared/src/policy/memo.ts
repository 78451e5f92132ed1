/** Remembers the results of a pure function, in bounded space: peers choose names, and can invent any number. */
export class Memo<K, V> {
  readonly #max: number;
  readonly #known = new Map<K, V>();

  constructor(max: number) {
    this.#max = max;
  }

  /** How many results are remembered. */
  get size(): number {
    return this.#known.size;
  }

  /** When full it forgets everything, which costs the next callers one computation each and needs no bookkeeping. */
  get(key: K, compute: () => V): V {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (this.#known.size >= this.#max) this.#known.clear();
    const value = compute();
    this.#known.set(key, value);
    return value;
  }
}
