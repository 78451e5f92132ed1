/**
 * Nonces: 32 random bytes, good once, in one stream, for a minute. Only live ones are kept, so the limit on open
 * exchanges bounds them. A used nonce, one of another stream and an unknown one are told apart.
 */

import { equal, hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';

const NONCE_BYTES = 32;
export const NONCE_SECONDS = 60;

export interface Nonce {
  readonly bytes: Uint8Array;
  /** Throws nonce_mismatch, nonce_used, nonce_expired; never succeeds twice. */
  consume(answered: Uint8Array): void;
  /** Forgets the nonce; called when its stream ends. */
  release(): void;
}

interface Entry {
  used: boolean;
  readonly expires: number;
}

/** The nonces of one CA. They expire by the clock. Needs no closing. */
export class Nonces {
  readonly #live = new Map<string, Entry>();
  readonly #clock: Clock;
  readonly #random: (size: number) => Uint8Array;

  constructor(clock: Clock, random: (size: number) => Uint8Array) {
    this.#clock = clock;
    this.#random = random;
  }

  /** How many nonces are kept. */
  get size(): number {
    return this.#live.size;
  }

  /** A new nonce, good once and for a minute. Throws internal if the source of randomness repeats itself. */
  draw(): Nonce {
    const bytes = this.#random(NONCE_BYTES);
    const key = hex(bytes);
    // Two streams with one nonce mean that the source of randomness is broken.
    ensure(
      bytes.length === NONCE_BYTES && !this.#live.has(key),
      'internal',
      'the source of randomness repeats itself',
    );
    const entry: Entry = { used: false, expires: this.#clock.now().getTime() + NONCE_SECONDS * 1000 };
    this.#live.set(key, entry);
    return {
      bytes,
      consume: (answered) => this.#consume(bytes, entry, answered),
      release: () => this.#live.delete(key),
    };
  }

  #consume(own: Uint8Array, entry: Entry, answered: Uint8Array): void {
    if (!equal(own, answered)) {
      const elsewhere = this.#live.has(hex(answered));
      ensure(!elsewhere, 'nonce_used', 'the answer carries the nonce of another exchange');
    }
    ensure(equal(own, answered), 'nonce_mismatch', 'the answer carries a nonce that this CA did not send');
    ensure(!entry.used, 'nonce_used', 'the nonce was answered before');
    entry.used = true;
    const now = this.#clock.now().getTime();
    ensure(
      now <= entry.expires,
      'nonce_expired',
      `the answer came ${now - entry.expires} ms after the nonce expired`,
    );
  }
}
