/**
 * The tasks that callers have made at one server, by their ids: for any other caller a task does not exist. A task is
 * forgotten when its server has said that it forgets it, and after a day at the latest.
 */
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import type { Created } from '@chancery/shared/mcp/tasks.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

const MAX_OF_CALLER = 256;
const MAX_SECONDS = 86_400;
/** So many callers are kept before those without a living task are looked for. */
const CALLERS = 1_024;

interface Task {
  readonly tool: string;
  readonly until: Date;
}

/** The tasks at one server. */
export class Tasks {
  readonly #byCaller = new Map<SpiffeId, Map<string, Task>>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Of this caller, as they are now: the tool that made the task of an id, and whether it may make no more. */
  of(caller: SpiffeId): { toolOf(id: string): string | undefined; readonly isFull: boolean } {
    const own = this.#living(caller);
    return { toolOf: (id) => own.get(id)?.tool, isFull: own.size >= MAX_OF_CALLER };
  }

  /** Notes a task that the server has made. Where calls at the same time made too many, the oldest is forgotten. */
  add(caller: SpiffeId, tool: string, { id, ttl = Number.POSITIVE_INFINITY }: Created): void {
    if (this.#byCaller.size >= CALLERS) for (const each of [...this.#byCaller.keys()]) this.#living(each);
    const own = this.#living(caller);
    own.delete(id);
    const [oldest] = own.keys();
    if (own.size >= MAX_OF_CALLER && oldest !== undefined) own.delete(oldest);
    own.set(id, { tool, until: addSeconds(this.#clock.now(), Math.min(ttl / 1000, MAX_SECONDS)) });
    this.#byCaller.set(caller, own);
  }

  #living(caller: SpiffeId): Map<string, Task> {
    const own = this.#byCaller.get(caller) ?? new Map<string, Task>();
    const now = this.#clock.now();
    for (const [id, { until }] of own) if (until <= now) own.delete(id);
    if (own.size === 0) this.#byCaller.delete(caller);
    return own;
  }
}
