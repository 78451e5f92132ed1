/**
 * How soon a process that ended without an answer is started again: a start costs more than a request. Counted for each
 * caller, because a caller may be the cause.
 */
import { backoffSeconds } from '@chancery/shared/ground/backoff.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

interface Failing {
  readonly failures: number;
  /** The earliest time of the next start. */
  readonly nextMs: number;
}

/** From the second failure on, doubling; the first may be chance. */
const PAUSE = { firstSeconds: 1, lastSeconds: 30, spread: 0 };
const MAX_CALLERS = 1_000;

/**
 * Delays the next start for a caller whose processes keep failing. `nowMs` is a clock that only advances, in
 * milliseconds.
 */
export class Restarts {
  readonly #nowMs: () => number;
  /** The caller whose last failure is oldest comes first. */
  readonly #byCaller = new Map<SpiffeId, Failing>();

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Throws mcp_upstream, with the time to wait. */
  ensureMayStart(caller: SpiffeId): void {
    const { failures, nextMs } = this.#byCaller.get(caller) ?? { failures: 0, nextMs: 0 };
    const leftMs = nextMs - this.#nowMs();
    if (failures < 2 || leftMs <= 0) return;
    const says = `the process of the MCP server ended ${failures} times without an answer`;
    throw new IdentityError('mcp_upstream', `${says}; it is started again in ${Math.ceil(leftMs / 1000)} s`);
  }

  /** A process that was stopped before its first answer tells nothing: the count stays. */
  ended(caller: SpiffeId, how: 'answered' | 'failed' | 'stopped'): void {
    if (how === 'answered') this.#byCaller.delete(caller);
    if (how === 'failed') this.#failed(caller);
  }

  #failed(caller: SpiffeId): void {
    const failures = (this.#byCaller.get(caller)?.failures ?? 0) + 1;
    const pauseMs = 1000 * backoffSeconds(PAUSE, failures - 1, 0);
    this.#byCaller.delete(caller);
    this.#byCaller.set(caller, { failures, nextMs: this.#nowMs() + pauseMs });
    const [oldest] = this.#byCaller.keys();
    if (this.#byCaller.size > MAX_CALLERS && oldest !== undefined) this.#byCaller.delete(oldest);
  }
}
