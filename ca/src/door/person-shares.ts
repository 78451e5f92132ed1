/**
 * The share of each operator in the work of the CA. A person has few calls under way at once, and the next ones wait
 * their turn behind that person's own, so a flood of one costs others no more than those few.
 */
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

/** Questions apart from changes: nobody waits with a revocation until long lists have come. */
type Work = 'asks' | 'changes';

/** Calls of one person that are under way at once. A change may take minutes, as a backup does. */
const AT_ONCE: Readonly<Record<Work, number>> = { asks: 2, changes: 4 };
/** As many scripts of one person may begin at the same moment. */
const WAITING = 16;

interface Share {
  running: number;
  readonly waiting: (() => void)[];
}

/** Shares of all operators of one CA. Needs no closing. */
export class PersonShares {
  readonly #shares = new Map<string, Share>();

  /** Of how many people calls are under way or wait, questions and changes apart. */
  get size(): number {
    return this.#shares.size;
  }

  /** Does the work in its turn. Throws rate where too many calls of that person wait, and what `run` throws. */
  async run<T>(work: Work, person: SpiffeId, run: () => Promise<T>): Promise<T> {
    const key = `${work} ${person}`;
    const share = this.#shares.get(key) ?? { running: 0, waiting: [] };
    this.#shares.set(key, share);
    if (share.running >= AT_ONCE[work]) await this.#turn(share, person);
    else share.running += 1;
    try {
      return await run();
    } finally {
      const next = share.waiting.shift();
      if (next !== undefined) next();
      else share.running -= 1;
      if (share.running === 0) this.#shares.delete(key);
    }
  }

  /** A call that ends leaves its place to the first that waits. */
  #turn({ waiting }: Share, person: SpiffeId): Promise<void> {
    const says = `${WAITING} calls of ${person} wait until others of that person have ended`;
    ensure(waiting.length < WAITING, 'rate', says);
    return new Promise((resolve) => waiting.push(resolve));
  }
}
