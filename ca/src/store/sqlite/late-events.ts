/** Events that go along with the next write: a sync of their own would keep that one waiting. */
import type { Database } from './calls.ts';
import type { LateEvent } from './writes.ts';

const LATER_MS = 1_000;
const MAX_LATER = 1_024;

/** Of one database: the store writes them before it closes that one. */
export class LateEvents {
  readonly #database: Database;
  readonly #later: LateEvent[] = [];
  #timer: NodeJS.Timeout | undefined;
  #tellLost: (error: unknown, events: number) => void = () => {};

  constructor(database: Database) {
    this.#database = database;
  }

  /** As `AuditIntake.onEventsLost`. */
  onLost(tell: (error: unknown, events: number) => void): void {
    this.#tellLost = tell;
  }

  /** It is written within a second, or with the next write. */
  add(event: LateEvent): void {
    this.#later.push(event);
    if (this.#later.length >= MAX_LATER) void this.write();
    else this.#timer ??= setTimeout(() => void this.write(), LATER_MS).unref();
  }

  /** Resolves when each of the late events is written, or counted as lost. Does not throw. */
  async write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const events = this.#later.splice(0);
    if (events.length === 0) return;
    // One call: what each costs must not keep the next change waiting, when thousands have acknowledged this one.
    const write = { kind: 'write', name: 'appendAll', at: events[0]?.at ?? 0, args: [events] } as const;
    await this.#database.call(write).catch((error: unknown) => this.#tellLost(error, events.length));
  }
}
