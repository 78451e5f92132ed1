/** What an agent acknowledges on one trust stream: whole snapshots, or parts of those that it takes only in part. */
import type { SnapshotParts, WatchAck } from '@chancery/proto/gen/chancery/v1/trust.ts';
import type { Part } from '../state/reading.ts';
import type { State } from '../state/snapshot.ts';

export interface Followed {
  /** The parts of the snapshot that are in force and on disk. */
  readonly taken: readonly Part[];
  readonly isWhole: boolean;
  /** The CA knows parts. */
  readonly takesParts: boolean;
}

/** One for each trust stream: it remembers what was acknowledged on it. */
export class Acknowledging {
  #last: SnapshotParts = { bundle: 0n, policy: 0n, revocations: 0n };
  #sequence = 0n;

  /** Undefined if there is nothing new to acknowledge, or a part is missing and the CA does not know parts. */
  after(state: State, { taken, isWhole, takesParts }: Followed): WatchAck | undefined {
    if (isWhole) this.#sequence = state.sequence;
    const before = this.#last;
    const take = (part: Part, number: bigint | undefined): bigint =>
      taken.includes(part) && number !== undefined ? number : before[part];
    const parts = {
      bundle: take('bundle', state.bundle?.sequence),
      policy: take('policy', state.policy?.version),
      revocations: take('revocations', state.revocations?.sequence),
    };
    this.#last = parts;
    if (!takesParts) return isWhole ? { sequence: state.sequence, parts: undefined } : undefined;
    const isNews = isWhole || taken.some((part) => parts[part] !== before[part]);
    return isNews ? { sequence: this.#sequence, parts } : undefined;
  }
}
