/** How many resources each caller is subscribed to, at one server: what a server remembers for it has a bound. */
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

/** Of all sessions and streams of one caller. */
const MAX_OF_CALLER = 1_024;

/** Counts the subscriptions of callers at one server. */
export class Subscriptions {
  readonly #taken = new Map<SpiffeId, number>();

  /** How many more the caller may have. */
  left(caller: SpiffeId): number {
    return MAX_OF_CALLER - (this.#taken.get(caller) ?? 0);
  }

  /** Takes so many of what is left. The returned function gives them back, once. */
  take(caller: SpiffeId, count: number): () => void {
    this.#add(caller, count);
    let taken = count;
    return () => {
      this.#add(caller, -taken);
      taken = 0;
    };
  }

  #add(caller: SpiffeId, count: number): void {
    const now = (this.#taken.get(caller) ?? 0) + count;
    if (now === 0) this.#taken.delete(caller);
    else this.#taken.set(caller, now);
  }
}
