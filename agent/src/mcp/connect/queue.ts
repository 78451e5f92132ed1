/** Watches the queue of requests that wait for a connection: does it drain without another one? */

/** Times of one look that a queue that drains needs at most, at the speed of the last one. */
const PATIENCE = 5;
/** A queue that drains is at most this part of what it was. One that new requests fill again does not drain. */
const SHRUNK = 0.75;

/** One look after the other, while requests wait. */
export class QueueWatch {
  #freed = 0;
  #longest = 0;

  /** A look begins, with so many in the queue. */
  begin(waiting: number): void {
    this.#freed = 0;
    this.#longest = waiting;
  }

  /** A connection became free. */
  free(): void {
    this.#freed += 1;
  }

  /** So many wait now. */
  waits(waiting: number): void {
    this.#longest = Math.max(this.#longest, waiting);
  }

  /** Whether no connection became free since the look began. */
  get isStill(): boolean {
    return this.#freed === 0;
  }

  /** Whether these that wait now are served soon enough by the connections that there are. */
  drains(waiting: number): boolean {
    return waiting <= Math.min(this.#freed * PATIENCE, this.#longest * SHRUNK);
  }
}
