/**
 * Claims that come before the CA has linked their certificate with the old one. They wait for the CA's message: one for
 * each claimed connection, so that a caller's share of connections bounds them.
 *
 * Such messages may come at any rate, about any caller. So each costs one look at the links; only linked claims are
 * decided, a few at a time, since that verifies signatures. All messages that come meanwhile cost one more look.
 */
import { setImmediate as breathe } from 'node:timers/promises';

/** Each may need a certificate verified: a few milliseconds in all, so that other callers' requests come in between. */
const AT_ONCE = 8;

/** Holds one claim for each connection until it is decided or dropped. */
export class EarlyClaims<Connection, Claimant> {
  readonly #waiting = new Map<Connection, Claimant>();
  #isTold = false;
  #isJudging = false;

  /** Keeps a claim on `connection`, in the place of an earlier one. */
  keep(connection: Connection, claimant: Claimant): void {
    this.#waiting.set(connection, claimant);
  }

  /** Forgets the claim on `connection`. */
  drop(connection: Connection): void {
    this.#waiting.delete(connection);
  }

  /** Calls `judgeOf` for each group, so that it judges by the current state. A judged claim no longer waits. */
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
      // Its connection may have ended or been claimed while others were decided.
      if (this.#waiting.get(connection) !== claimant) continue;
      this.#waiting.delete(connection);
      judge(connection, claimant);
    }
  }
}
