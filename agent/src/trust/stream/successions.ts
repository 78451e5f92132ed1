/** Which certificates replaced which, as the CA tells a gateway. Kept in memory until the old one has ended. */
import type { Succession } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';

/** As many as the CA keeps, in all and of one node: a node that renews often pushes out only its own. */
const MAX_KEPT = 65_536;
const MAX_PER_SHARE = 4_096;
/**
 * An agent renews at half of its certificate's life, so there are few steps between two certificates while the older is
 * valid.
 */
const MAX_STEPS = 8;

interface Before {
  readonly old: string;
  readonly until: number;
  readonly share: string;
}

/** Which certificate replaced which, by serial. Limited in all and for each node; the oldest is forgotten first. */
export class Successions {
  readonly #clock: Clock;
  /** By the serial of the newer certificate, which has at most one predecessor. */
  readonly #before = new Map<string, Before>();
  /** The newer serials by node, oldest first. */
  readonly #byShare = new Map<string, Set<string>>();
  readonly #listeners = new Set<() => void>();
  #afterSweep = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many links are kept. */
  get size(): number {
    return this.#before.size;
  }

  /** Keeps the links, then calls the listeners. Forgets links above the bound. */
  add(list: readonly Succession[]): void {
    for (const each of list) this.#keep(hex(each.next), each);
    if (this.#before.size > 2 * this.#afterSweep + MAX_STEPS) this.#sweep();
    while (this.#before.size > MAX_KEPT) this.#thin();
    for (const listener of this.#listeners) listener();
  }

  /** Calls `listener` after each addition, until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #keep(next: string, { old, until, share: name }: Succession): void {
    this.#forget(next);
    const share = hex(name);
    const own = this.#byShare.get(share) ?? new Set();
    const [oldest] = own;
    if (own.size >= MAX_PER_SHARE && oldest !== undefined) this.#forget(oldest);
    this.#before.set(next, { old: hex(old), until: Number(until) * 1000, share });
    this.#byShare.set(share, own.add(next));
  }

  #forget(next: string): void {
    const share = this.#before.get(next)?.share;
    if (share === undefined) return;
    this.#before.delete(next);
    const own = this.#byShare.get(share);
    own?.delete(next);
    if (own?.size === 0) this.#byShare.delete(share);
  }

  /** Forgets the oldest link of each node that has most, until there are few enough. */
  #thin(): void {
    let most = 0;
    for (const { size } of this.#byShare.values()) most = Math.max(most, size);
    for (const own of [...this.#byShare.values()]) {
      const [oldest] = own;
      if (this.#before.size <= MAX_KEPT) return;
      if (own.size === most && oldest !== undefined) this.#forget(oldest);
    }
  }

  /** Whether `next` replaced `old`, by the CA, and `old` is still valid. Serials, hexadecimal. */
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
    for (const [next, { until }] of this.#before) if (until <= now) this.#forget(next);
    this.#afterSweep = this.#before.size;
  }
}
