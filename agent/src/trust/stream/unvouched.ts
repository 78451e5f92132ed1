/** Asks the CA for vouchers while the last snapshot has an authority that nothing vouches for yet. */
import { backoffSeconds } from '@chancery/shared/ground/backoff.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';

export interface UnvouchedDeps {
  /** Whether vouchers are wanted. */
  readonly isWanted: () => boolean;
  /** What the CA has to show. Throws unavailable, refused_by_ca. */
  readonly ask: () => Promise<readonly Uint8Array[]>;
  /** Whether these prove anything new. */
  readonly take: (proofs: readonly Uint8Array[]) => boolean;
  /** Called when something new is proven. */
  readonly onProven: () => void;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly log: Log;
}

/** The CA's log has an entry within a second. A root that nothing vouches for may stay. */
const RETRY = { firstSeconds: 1, lastSeconds: 60, spread: 0.2 };

/** One for each trust stream. */
export class Unvouched {
  readonly #deps: UnvouchedDeps;
  readonly #closed = new AbortController();
  #isAsking = false;

  constructor(deps: UnvouchedDeps) {
    this.#deps = deps;
  }

  /** Begins to ask if that is wanted, and it is not asking already. */
  look(): void {
    if (this.#isAsking || !this.#deps.isWanted()) return;
    this.#isAsking = true;
    void this.#ask().finally(() => {
      this.#isAsking = false;
    });
  }

  /** Asks no more. */
  close(): void {
    this.#closed.abort();
  }

  async #ask(): Promise<void> {
    const { isWanted, clock, random } = this.#deps;
    const { signal } = this.#closed;
    for (let tries = 1; !signal.aborted && isWanted(); tries += 1) {
      await this.#askOnce();
      if (!isWanted()) return;
      const seconds = backoffSeconds(RETRY, tries, random());
      await clock.sleepUntil(addSeconds(clock.now(), seconds), signal).catch(() => {});
    }
  }

  async #askOnce(): Promise<void> {
    const { ask, take, onProven, log } = this.#deps;
    try {
      const proofs = await ask();
      if (!this.#closed.signal.aborted && take(proofs)) onProven();
    } catch (error) {
      if (!isRefusal(error)) throw error;
      log.warn({ err: error }, 'the CA gives no vouchers');
    }
  }
}
