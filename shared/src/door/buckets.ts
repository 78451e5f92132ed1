/** Token buckets by key: what one caller may start in a second and at once. */
import type { Clock } from '../ground/clock.ts';
import { ensure } from '../ground/errors.ts';

export interface BucketSettings {
  readonly perSecond: number;
  readonly burst: number;
}

interface Bucket {
  tokens: number;
  at: number;
}

/**
 * How many keys are remembered. Beyond it, full buckets are forgotten, which equal new ones; if there are none, a part
 * of the buckets, the fullest first. A peer with more keys than this gains a few tokens, which its other keys would
 * give it anyway. Refusing unknown keys instead would lock out everybody else.
 */
const MAX_KEYS = 10_000;
const PART = 0.1;

/** Limits how fast each key may go: one bucket for each, all of one size. */
export class Buckets {
  readonly #settings: BucketSettings;
  readonly #clock: Clock;
  readonly #buckets = new Map<string, Bucket>();

  constructor(settings: BucketSettings, clock: Clock) {
    this.#settings = settings;
    this.#clock = clock;
  }

  /**
   * Takes tokens of `key`. A full bucket gives more than the burst and owes the rest. Throws rate, which says that the
   * key did `what` faster than allowed.
   */
  spend(key: string, what: string, tokens = 1): void {
    const bucket = this.#filled(key);
    const needed = Math.min(tokens, this.#settings.burst);
    ensure(bucket.tokens >= needed, 'rate', `${key} ${what} faster than allowed`);
    bucket.tokens -= tokens;
  }

  #filled(key: string): Bucket {
    const now = this.#clock.now().getTime();
    const found = this.#buckets.get(key);
    const bucket = found ?? { tokens: this.#settings.burst, at: now };
    this.#fill(bucket, now);
    if (found === undefined) {
      if (this.#buckets.size >= MAX_KEYS) this.#forget(now);
      this.#buckets.set(key, bucket);
    }
    return bucket;
  }

  /** The wall clock may jump back: then no time has passed. */
  #fill(bucket: Bucket, now: number): void {
    const earned = (Math.max(0, now - bucket.at) / 1000) * this.#settings.perSecond;
    bucket.tokens = Math.min(this.#settings.burst, bucket.tokens + earned);
    bucket.at = now;
  }

  #forget(now: number): void {
    for (const [key, bucket] of this.#buckets) {
      this.#fill(bucket, now);
      if (bucket.tokens >= this.#settings.burst) this.#buckets.delete(key);
    }
    if (this.#buckets.size < MAX_KEYS) return;
    const fullest = [...this.#buckets].toSorted(([, a], [, b]) => b.tokens - a.tokens);
    for (const [key] of fullest.slice(0, MAX_KEYS * PART)) this.#buckets.delete(key);
  }
}
