/**
 * Addresses of strangers, and certificates, whose connections were just ended for misbehaviour. Their new connections
 * wait after the handshake, so that a peer that comes back at once gains little. They wait and are not refused, because
 * others may have the same address.
 */
import type { Clock } from '../ground/clock.ts';
import { Deadlines } from './deadlines.ts';
import type { ShareKeys } from './keys.ts';

/** Used in turn, so that peers that were disconnected together come back one after another. */
const WAITS_MS = [1_000, 1_125, 1_250, 1_375, 1_500, 1_625, 1_750, 1_875];
/** How long after the last disconnect new connections wait. */
const SLOW_MS = 10_000;
/** The oldest is forgotten first. */
const MAX_KEYS = 10_000;

/** Remembers whose connections were ended: at most 10,000 addresses and certificates, the newest. */
export class SlowAddresses {
  readonly #clock: Clock;
  readonly #waiting: readonly Deadlines[];
  #turn = 0;
  /** When a peer of that address or network was last sent away, in that order. */
  readonly #since = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#waiting = WAITS_MS.map((ms) => new Deadlines(ms, clock));
  }

  /** Notes misbehaviour now. The oldest key is forgotten above the bound. */
  add(keys: ShareKeys): void {
    const key = keyOf(keys);
    this.#since.delete(key);
    this.#since.set(key, this.#clock.now().getTime());
    const [oldest] = this.#since.keys();
    if (oldest !== undefined && this.#since.size > MAX_KEYS) this.#since.delete(oldest);
  }

  /** Whether a new connection of these keys waits. */
  has(keys: ShareKeys): boolean {
    return this.#isSlow(keyOf(keys));
  }

  /** Calls `go` at once or after the wait, unless the returned function is called before. */
  enter(keys: ShareKeys, go: () => void): () => void {
    if (this.#isSlow(keyOf(keys))) {
      const waiting = this.#waiting[this.#turn];
      this.#turn = (this.#turn + 1) % WAITS_MS.length;
      return waiting?.start(go) ?? (() => {});
    }
    go();
    return () => {};
  }

  #isSlow(key: string): boolean {
    const since = this.#since.get(key);
    const ago = since === undefined ? SLOW_MS : this.#clock.now().getTime() - since;
    // The wall clock may have been set back; nobody waits for that.
    if (ago >= 0 && ago < SLOW_MS) return true;
    this.#since.delete(key);
    return false;
  }
}

const keyOf = ({ address, network }: ShareKeys): string => network ?? address;
