/** Which certificates took the place of which, as the CA tells a gateway: in memory, until the old one has ended. */
import type { Succession } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { hex } from '@chancery/shared/bytes.ts';
import type { Clock } from '@chancery/shared/clock.ts';

/** As many as the CA keeps; beyond these the oldest are forgotten. */
const MAX_KEPT = 65_536;
/** An agent renews at half of life: few steps lie between two certificates while the older is valid. */
const MAX_STEPS = 8;

interface Before {
  readonly old: string;
  readonly until: number;
}

export class Successions {
  readonly #clock: Clock;
  /** By the serial of the newer certificate, which has one predecessor at most. */
  readonly #before = new Map<string, Before>();
  #afterSweep = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#before.size;
  }

  add(list: readonly Succession[]): void {
    for (const { old, next, until } of list)
      this.#before.set(hex(next), { old: hex(old), until: Number(until) * 1000 });
    if (this.#before.size > 2 * this.#afterSweep + MAX_STEPS) this.#sweep();
    for (const oldest of this.#before.keys()) {
      if (this.#before.size <= MAX_KEPT) break;
      this.#before.delete(oldest);
    }
  }

  /** Whether `next` came, by the CA's word, of the certificate `old`, which is still valid. Serials, hexadecimal. */
  follows(next: string, old: string): boolean {
    const now = this.#clock.now().getTime();
    let at = next;
    for (let step = 0; step < MAX_STEPS; step += 1) {
      const before = this.#before.get(at);
      if (before === undefined || before.until <= now) return false;
      if (before.old === old) return true;
      at = before.old;
    }
    return false;
  }

  #sweep(): void {
    const now = this.#clock.now().getTime();
    for (const [next, { until }] of this.#before) if (until <= now) this.#before.delete(next);
    this.#afterSweep = this.#before.size;
  }
}
