/**
 * Claims of open calls with certificates that the CA has not linked yet, until its word of them comes: one for each
 * connection that is claimed, so that a caller's share of the connections bounds them.
 *
 * The CA's word may come at any rate, and be about anybody. So a message costs a look at the links, and only what is
 * linked is judged, a few at a time, for that costs signatures. Messages that come meanwhile are one more look.
 */
import { setImmediate as breathe } from 'node:timers/promises';

/** Each may be a certificate to verify: a few milliseconds for all, and other callers' requests come between. */
const AT_ONCE = 8;

/** Holds one claim for each connection until it is judged or dropped. */
export class EarlyClaims<Connection, Claimant> {
  readonly #waiting = new Map<Connection, Claimant>();
  #isTold = false;
  #isJudging = false;

  keep(connection: Connection, claimant: Claimant): void {
    this.#waiting.set(connection, claimant);
  }

  drop(connection: Connection): void {
    this.#waiting.delete(connection);
  }

  /** `judgeOf` is called for each few, by what holds then. A claim that is judged waits no longer. */
  async judge(
    isLinked: (connection: Connection, claimant: Claimant) => boolean,
    judgeOf: () => (connection: Connection, claimant: Claimant) => void,
  ): Promise<void> {
    this.#isTold = true;
    if (this.#isJudging) return;
    this.#isJudging = true;
    try {
      while (this.#isTold) {
        this.#isTold = false;
        const linked = [...this.#waiting].filter(([connection, claimant]) => isLinked(connection, claimant));
        for (let from = 0; from < linked.length; from += AT_ONCE) {
          this.#judgeFew(linked.slice(from, from + AT_ONCE), judgeOf());
          await breathe();
        }
        await breathe();
      }
    } finally {
      this.#isJudging = false;
    }
  }

  #judgeFew(
    few: readonly (readonly [Connection, Claimant])[],
    judge: (connection: Connection, claimant: Claimant) => void,
  ): void {
    for (const [connection, claimant] of few) {
      // Its connection may have ended, or be claimed by another, while others were judged.
      if (this.#waiting.get(connection) !== claimant) continue;
      this.#waiting.delete(connection);
      judge(connection, claimant);
    }
  }
}
