/** Events that go along with the next write: a sync of their own would keep that one waiting. */
import type { Database, WriteCall } from './calls.ts';

const LATER_MS = 1_000;
const MAX_LATER = 1_024;

/** Of one database: the store writes them before it closes that one. */
export class LateEvents {
  readonly #database: Database;
  readonly #later: WriteCall[] = [];
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
  add(call: WriteCall): void {
    this.#later.push(call);
    if (this.#later.length >= MAX_LATER) void this.write();
    else this.#timer ??= setTimeout(() => void this.write(), LATER_MS).unref();
  }

  /** Resolves when each of the late events is written, or counted as lost. Does not throw. */
  async write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const writes = this.#later.splice(0).map((call) => this.#database.call(call));
    const lost = (await Promise.allSettled(writes)).filter((end) => end.status === 'rejected');
    if (lost[0] !== undefined) this.#tellLost(lost[0].reason, lost.length);
  }
}
