/** Records that a spool had no room for, counted by server until a record can say so. */
import type { Clock } from '@chancery/shared/ground/clock.ts';

export interface Loss {
  readonly server: string;
  readonly count: number;
  readonly since: Date;
}

/** What one spool has lost since it was last said. */
export class Losses {
  readonly #clock: Clock;
  readonly #byServer = new Map<string, Loss>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts these. True if they are the first ones. */
  add(events: readonly { readonly server: string }[]): boolean {
    const isFirst = this.#byServer.size === 0;
    for (const { server } of events) {
      const { count, since } = this.#byServer.get(server) ?? { count: 0, since: this.#clock.now() };
      this.#byServer.set(server, { server, count: count + 1, since });
    }
    return isFirst;
  }

  /** By server. */
  all(): readonly Loss[] {
    return [...this.#byServer.values()];
  }

  /** They are on record. */
  clear(): void {
    this.#byServer.clear();
  }
}
