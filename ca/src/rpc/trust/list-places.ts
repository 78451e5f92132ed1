/** Places for what takes long and is brought by many: one for each holder at a time, and some go first. */

/** Whose place it is. */
export interface Holder {
  /** One peer, whatever certificates it has. */
  readonly name: string;
  /** Before all that wait and are not. */
  readonly goesFirst: boolean;
}

interface Waiting extends Holder {
  readonly begin: () => void;
}

/** So many holders at once; who waits keeps its order, and stands in nobody's way while its holder has a place. */
export class ListPlaces {
  readonly #atOnce: number;
  readonly #holders = new Set<string>();
  readonly #waiting: Waiting[] = [];

  constructor(atOnce: number) {
    this.#atOnce = atOnce;
  }

  /** Resolves, or rejects, as `work` does once there was a place for it. */
  async run<T>(holder: Holder, work: () => Promise<T>): Promise<T> {
    await new Promise<void>((begin) => {
      this.#waiting.push({ ...holder, begin });
      this.#fill();
    });
    try {
      return await work();
    } finally {
      this.#holders.delete(holder.name);
      this.#fill();
    }
  }

  #fill(): void {
    while (this.#holders.size < this.#atOnce) {
      const may = this.#waiting.filter(({ name }) => !this.#holders.has(name));
      const next = may.find(({ goesFirst }) => goesFirst) ?? may[0];
      if (next === undefined) return;
      this.#waiting.splice(this.#waiting.indexOf(next), 1);
      this.#holders.add(next.name);
      next.begin();
    }
  }
}
