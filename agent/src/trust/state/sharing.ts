/** Among how many gateways the rates are divided, as the CA says. */

/**
 * How long a smaller number waits. A CA that has just started counts its gateways one by one, as they come back, and
 * each of them must not have the part of all meanwhile.
 */
const HOLD_MS = 60_000;

/** A larger number counts at once, a smaller one when the CA has said no larger one for a minute. */
export class Sharing {
  readonly #monotonic: () => number;
  #inForce = 1;
  #latest = 1;
  /** The largest number that was said since one was smaller than what is in force. */
  #smaller: { gateways: number; readonly sinceMs: number } | undefined;

  /** `monotonic` gives milliseconds that only grow. */
  constructor(monotonic = () => performance.now()) {
    this.#monotonic = monotonic;
  }

  /** Takes what was in force before a restart, before anything is heard. */
  resume(gateways: number): void {
    this.#inForce = gateways;
    this.#latest = gateways;
  }

  /** At least 1. */
  get gateways(): number {
    const { gateways, sinceMs } = this.#smaller ?? { gateways: 0, sinceMs: Number.POSITIVE_INFINITY };
    const now = this.#monotonic();
    if (now - sinceMs < HOLD_MS) return this.#inForce;
    if (gateways === 0) return this.#inForce;
    this.#inForce = gateways;
    this.#smaller = this.#latest < gateways ? { gateways: this.#latest, sinceMs: now } : undefined;
    return gateways;
  }

  /** Takes what the CA says; a number below 1 is none. True if another number is in force at once. */
  hear(gateways: number): boolean {
    if (gateways < 1) return false;
    const inForce = this.gateways;
    this.#latest = gateways;
    if (gateways >= inForce) {
      this.#inForce = gateways;
      this.#smaller = undefined;
    } else if (this.#smaller === undefined) this.#smaller = { gateways, sinceMs: this.#monotonic() };
    else this.#smaller.gateways = Math.max(this.#smaller.gateways, gateways);
    return this.#inForce !== inForce;
  }
}
