/** What one address, and all together, may have open or start: a token bucket and two counts, before anything dear. */
import type { Clock } from '@chancery/shared/clock.ts';
import { ensure } from '@chancery/shared/errors.ts';

export interface LimitSettings {
  readonly attestationsPerSecond: number;
  readonly attestationBurst: number;
  readonly openAttestations: number;
  readonly openAttestationsPerAddress: number;
}

interface Bucket {
  tokens: number;
  at: number;
  open: number;
}

/** Addresses remembered; past it those that are idle and full again are forgotten. */
const MAX_ADDRESSES = 10_000;

export class Limits {
  readonly #settings: LimitSettings;
  readonly #clock: Clock;
  readonly #buckets = new Map<string, Bucket>();
  #open = 0;

  constructor(settings: LimitSettings, clock: Clock) {
    this.#settings = settings;
    this.#clock = clock;
  }

  get open(): number {
    return this.#open;
  }

  /** Counts one exchange of `address` as open; returns the way to count it closed. Throws rate. */
  enter(address: string): () => void {
    const { openAttestations, openAttestationsPerAddress } = this.#settings;
    ensure(this.#open < openAttestations, 'rate', `${this.#open} exchanges are open`);
    const bucket = this.#bucket(address);
    ensure(bucket.open < openAttestationsPerAddress, 'rate', `${address} has ${bucket.open} exchanges open`);
    ensure(bucket.tokens >= 1, 'rate', `${address} starts exchanges faster than it may`);
    bucket.tokens -= 1;
    bucket.open += 1;
    this.#open += 1;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      bucket.open -= 1;
      this.#open -= 1;
    };
  }

  #bucket(address: string): Bucket {
    const { attestationBurst, attestationsPerSecond } = this.#settings;
    const now = this.#clock.now().getTime();
    const bucket = this.#buckets.get(address) ?? { tokens: attestationBurst, at: now, open: 0 };
    const earned = (Math.max(0, now - bucket.at) / 1000) * attestationsPerSecond;
    bucket.tokens = Math.min(attestationBurst, bucket.tokens + earned);
    bucket.at = now;
    if (!this.#buckets.has(address)) {
      if (this.#buckets.size >= MAX_ADDRESSES) this.#forget();
      this.#buckets.set(address, bucket);
    }
    return bucket;
  }

  #forget(): void {
    for (const [address, { open }] of this.#buckets) if (open === 0) this.#buckets.delete(address);
    ensure(this.#buckets.size < MAX_ADDRESSES, 'rate', 'too many addresses have exchanges open');
  }
}
