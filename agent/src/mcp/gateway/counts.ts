/**
 * Everything that a gateway counts of its callers, in one place: uses against rates, and sessions. A gateway shares
 * both with others. It keeps to its part without asking them, so that none of them, and no CA, has to be there for a
 * call.
 */
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Demand } from '@chancery/shared/policy/rate/rate.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { type Bucket, type BucketLimits, Buckets } from './buckets.ts';

/** What keeps a use from being within its rates for so long. */
export interface Wait {
  readonly demand: Demand;
  readonly waitMs: number;
}

export interface PlaceLimits {
  readonly max: number;
  /** One caller cannot take all places. */
  readonly maxPerCaller: number;
}

export interface Counts {
  /**
   * Counts one use against each of its rates. If it is above one of them it counts against none; returned is the one
   * that takes longest.
   */
  spend(demands: readonly Demand[]): Wait | undefined;
  /** Throws mcp_sessions if a server has no place for another session of the caller. */
  ensurePlace(server: string, caller: SpiffeId, limits: PlaceLimits): void;
  /** Takes a place, whether there is one or not. The returned function gives it back, once. */
  hold(server: string, caller: SpiffeId): () => void;
}

/** Among how many the counts are divided; at least 1. */
export interface CountsOptions {
  /** Gateways that serve what this one serves, and their processes: rates are of all of them together. */
  readonly ofRates: () => number;
  /** Processes of this gateway: the places at a server are of one gateway. */
  readonly ofPlaces: () => number;
  /** Milliseconds that only grow. */
  readonly monotonic: () => number;
  readonly buckets?: BucketLimits;
}

/** The part of one process, in its memory: a restart begins with full buckets. */
export class OwnCounts implements Counts {
  readonly #parts: Pick<CountsOptions, 'ofRates' | 'ofPlaces'>;
  readonly #buckets: Buckets;
  readonly #held = new Map<string, Map<SpiffeId, number>>();

  constructor({ monotonic, buckets, ...parts }: CountsOptions) {
    this.#parts = parts;
    this.#buckets = new Buckets(monotonic, buckets);
  }

  /** Against the part of this process. */
  spend(demands: readonly Demand[]): Wait | undefined {
    const own = demands.map((demand) => ({ demand, bucket: this.#bucketOf(demand) }));
    const waits = own.map(({ demand, bucket }) => ({ demand, waitMs: this.#buckets.waitMs(bucket) }));
    const [longest] = waits.toSorted((a, b) => b.waitMs - a.waitMs);
    if (longest !== undefined && longest.waitMs > 0) return longest;
    for (const { bucket } of own) this.#buckets.take(bucket);
    return undefined;
  }

  /** A part of a call cannot pass, so each part has at least one call at once. */
  #bucketOf({ server, rule, caller, tool, rate: { perSecond, burst } }: Demand): Bucket {
    const parts = Math.max(1, this.#parts.ofRates());
    const pace = { perSecond: perSecond / parts, burst: Math.max(1, burst / parts) };
    // Of names only the last can have a space.
    const name = [server, rule, ...(tool === undefined ? [] : [tool])].join(' ');
    return { caller, name, pace };
  }

  /** Throws mcp_sessions, by the part of this process. */
  ensurePlace(server: string, caller: SpiffeId, { max, maxPerCaller }: PlaceLimits): void {
    const [all, each] = [this.#partOf(max), this.#partOf(maxPerCaller)];
    const held = this.#held.get(server) ?? new Map<SpiffeId, number>();
    const own = held.get(caller) ?? 0;
    const mine = `${caller} has ${own} of at most ${each} sessions here`;
    ensure(own < each, 'mcp_sessions', `${mine}: end one (DELETE), or wait until one ends unused`);
    const says = `all ${all} sessions of this gateway are in use, ${own} of them by ${caller}: try again later`;
    const taken = [...held.values()].reduce((sum, count) => sum + count, 0);
    ensure(taken < all, 'mcp_sessions', says);
  }

  #partOf(places: number): number {
    return Math.max(1, Math.floor(places / Math.max(1, this.#parts.ofPlaces())));
  }

  /** Until the returned function is called. */
  hold(server: string, caller: SpiffeId): () => void {
    this.#add(server, caller, 1);
    let held = true;
    return () => {
      if (held) this.#add(server, caller, -1);
      held = false;
    };
  }

  #add(server: string, caller: SpiffeId, more: number): void {
    const held = this.#held.get(server) ?? new Map<SpiffeId, number>();
    const count = (held.get(caller) ?? 0) + more;
    if (count > 0) held.set(caller, count);
    else held.delete(caller);
    if (held.size > 0) this.#held.set(server, held);
    else this.#held.delete(server);
  }
}
