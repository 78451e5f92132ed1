/** Says loudly, and not once for each call, that a server lets pass what its rules deny. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Decision } from '@chancery/shared/policy/decision.ts';

/** One line in this time, with the number of calls since the one before. */
const SECONDS = 60;

/** What passed at one server although its rules deny it. Needs no closing: each has its own record. */
export class Observations {
  readonly #server: string;
  readonly #clock: Clock;
  readonly #log: Log;
  #count = 0;
  #said: Date | undefined;

  constructor(server: string, { clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.#server = server;
    this.#clock = clock;
    this.#log = log;
  }

  /** Counts a decision that was lifted, and logs the first, and then one in a minute. */
  note(decision: Decision): void {
    if (!decision.allow || decision.observed !== true) return;
    this.#count += 1;
    const now = this.#clock.now();
    const past = this.#said === undefined ? SECONDS : (now.getTime() - this.#said.getTime()) / 1000;
    // The wall clock may have stepped back.
    if (past >= 0 && past < SECONDS) return;
    const { reason } = decision;
    this.#log.warn(
      { server: this.#server, count: this.#count, reason },
      'observed: rules deny what has passed',
    );
    this.#count = 0;
    this.#said = now;
  }
}
