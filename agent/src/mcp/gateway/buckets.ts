/**
 * Token buckets: how much each caller may still use at once. A bucket that is not full is never forgotten, so nobody
 * gets more by making others; a full one equals a new one. Where there is no room for another, it counts as empty.
 */
import type { Rate } from '@chancery/shared/policy/rate/rate.ts';

export type Pace = Pick<Rate, 'perSecond' | 'burst'>;

/** One bucket: whose it is, and which of its caller's. */
export interface Bucket {
  readonly caller: string;
  readonly name: string;
  readonly pace: Pace;
}

export interface BucketLimits {
  /** Buckets that are not full. One has some 200 bytes. */
  readonly max: number;
  readonly maxPerCaller: number;
  /** So many a caller has room for, whatever others hold. */
  readonly reserved: number;
}

/** A hundred callers can fill it together. Nobody's calls need more than one of a server and one of a tool at once. */
const LIMITS: BucketLimits = { max: 100_000, maxPerCaller: 1_000, reserved: 8 };
/** Sums of parts of a token may lack a little of a whole one. */
const ROUNDING = 1e-9;
/** How often all callers are looked through for full buckets, at most, and when to try again where there are none. */
const LOOK_MS = 1_000;

interface Level {
  tokens: number;
  atMs: number;
  pace: Pace;
}

/** Of one process. `monotonic` gives milliseconds that only grow. */
export class Buckets {
  readonly #monotonic: () => number;
  readonly #limits: BucketLimits;
  readonly #byCaller = new Map<string, Map<string, Level>>();
  #size = 0;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(monotonic: () => number, limits: BucketLimits = LIMITS) {
    this.#monotonic = monotonic;
    this.#limits = limits;
  }

  /** How many are kept. */
  get size(): number {
    return this.#size;
  }

  /** Milliseconds until there is a whole token in it: 0 if there is. A new bucket is full. */
  waitMs({ caller, name, pace }: Bucket): number {
    const level = this.#levelOf(caller, name, pace);
    if (level === undefined) return LOOK_MS;
    const missing = 1 - level.tokens - ROUNDING;
    return missing <= 0 ? 0 : Math.ceil((missing / pace.perSecond) * 1000);
  }

  /** Takes a token. Called in the same turn in which `waitMs` was 0. */
  take({ caller, name, pace }: Bucket): void {
    const level = this.#levelOf(caller, name, pace);
    if (level !== undefined) level.tokens = Math.max(0, level.tokens - 1);
  }

  /** As it is now, at this pace from now on. Undefined if there is no room. */
  #levelOf(caller: string, name: string, pace: Pace): Level | undefined {
    const now = this.#monotonic();
    const known = this.#byCaller.get(caller)?.get(name);
    if (known !== undefined) {
      fill(known, now);
      known.pace = pace;
      return known;
    }
    if (!this.#hasRoom(caller, now)) return undefined;
    const made = { tokens: pace.burst, atMs: now, pace };
    const own = this.#byCaller.get(caller) ?? new Map<string, Level>();
    this.#byCaller.set(caller, own.set(name, made));
    this.#size += 1;
    return made;
  }

  #hasRoom(caller: string, now: number): boolean {
    const { max, maxPerCaller, reserved } = this.#limits;
    const own = this.#byCaller.get(caller);
    if ((own?.size ?? 0) < reserved) return true;
    if (own !== undefined && own.size >= maxPerCaller) this.#dropFull(caller, own, now);
    if (this.#size >= max && now - this.#lookedMs >= LOOK_MS) {
      this.#lookedMs = now;
      for (const [each, levels] of [...this.#byCaller]) this.#dropFull(each, levels, now);
    }
    return (this.#byCaller.get(caller)?.size ?? 0) < maxPerCaller && this.#size < max;
  }

  #dropFull(caller: string, levels: Map<string, Level>, now: number): void {
    for (const [name, level] of levels) {
      fill(level, now);
      if (level.tokens < level.pace.burst) continue;
      levels.delete(name);
      this.#size -= 1;
    }
    if (levels.size === 0) this.#byCaller.delete(caller);
  }
}

function fill(level: Level, now: number): void {
  const { perSecond, burst } = level.pace;
  level.tokens = Math.min(burst, level.tokens + ((now - level.atMs) / 1000) * perSecond);
  level.atMs = now;
}
