/**
 * Records of certificates that were written or read lately. A record never changes, so it may be remembered; a renewal
 * looks for its caller's and must not wait for the disk's sync of somebody else's.
 */
import type { RecordedIssuance } from '../store.ts';

/** About 700 bytes each. */
const MAX_KEPT = 4_096;

/** At most 4,096 records; the one that was not asked for longest is forgotten first. */
export class RecentIssuances {
  readonly #max: number;
  /** By serial, the one that was asked for last at the end. */
  readonly #kept = new Map<string, RecordedIssuance>();

  constructor(max: number = MAX_KEPT) {
    this.#max = max;
  }

  get(serial: string): RecordedIssuance | undefined {
    const found = this.#kept.get(serial);
    if (found !== undefined) this.keep(found);
    return found;
  }

  keep(issuance: RecordedIssuance): void {
    this.#kept.delete(issuance.serial);
    this.#kept.set(issuance.serial, issuance);
    if (this.#kept.size <= this.#max) return;
    for (const serial of this.#kept.keys()) {
      this.#kept.delete(serial);
      return;
    }
  }

  /** Some were pruned. */
  forget(): void {
    this.#kept.clear();
  }
}
