/**
 * Records of certificates that were written or read lately. A record never changes, so it may be remembered; a renewal
 * looks for its caller's and must not wait for the disk's sync of somebody else's.
 */
import type { RecordedIssuance } from '../store.ts';

/** About 700 bytes each. */
const MAX_KEPT = 4_096;

/**
 * At most 4,096 records, in two halves: when the newer half is full, the older one is forgotten. To forget one record
 * at a time would cost more, since a Map passes over all that was deleted before its first key.
 */
export class RecentIssuances {
  readonly #half: number;
  /** By serial: written or asked for since the other half was full. */
  #newer = new Map<string, RecordedIssuance>();
  #older: ReadonlyMap<string, RecordedIssuance> = new Map();

  constructor(max: number = MAX_KEPT) {
    this.#half = max / 2;
  }

  /** The record of this serial number (lower-case hex); undefined if it is not remembered. */
  get(serial: string): RecordedIssuance | undefined {
    const found = this.#newer.get(serial);
    if (found !== undefined) return found;
    const older = this.#older.get(serial);
    if (older !== undefined) this.keep(older);
    return older;
  }

  /** Remembers the record. The older half is forgotten when the newer half is full. */
  keep(issuance: RecordedIssuance): void {
    if (this.#newer.size >= this.#half) {
      this.#older = this.#newer;
      this.#newer = new Map();
    }
    this.#newer.set(issuance.serial, issuance);
  }

  /** Some were pruned. */
  forget(): void {
    this.#newer.clear();
    this.#older = new Map();
  }
}
