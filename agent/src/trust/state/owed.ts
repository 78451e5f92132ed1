/** What the CA is owed: signed states of revocations that a restored CA may have forgotten. */
import type { Revoked } from '@chancery/proto/gen/chancery/v1/trust.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { revokedMessages } from './revocations.ts';
import type { Kept } from './signed.ts';

/** A signed state of revocations. */
export interface Held extends Kept {
  readonly sequence: bigint;
  readonly list: readonly Revoked[];
}

/** As it is saved. */
export interface SavedOwed extends Kept {
  readonly revocations: RevocationSet;
}

/** Each may have megabytes. */
export const MAX_OWED = 2;

/** States that a CA has refused: the state of that CA has taken their place, so they are kept here. */
export class Owed {
  #list: readonly SavedOwed[] = [];

  /** The oldest first. */
  get list(): readonly SavedOwed[] {
    return this.#list;
  }

  /** Takes what was saved. */
  resume(list: readonly SavedOwed[]): void {
    this.#list = list.slice(-MAX_OWED);
  }

  /** Keeps it until `drop`. */
  keep(owed: SavedOwed): void {
    if (this.#list.every(({ note }) => note !== owed.note)) this.resume([...this.#list, owed]);
  }

  /** A CA has it. */
  drop(note: string): void {
    this.#list = this.#list.filter((each) => each.note !== note);
  }
}

/** For the CA. */
export const heldOf = ({ revocations, note, checkpoint }: SavedOwed): Held => ({
  ...{ note, checkpoint, sequence: revocations.sequence, list: revokedMessages(revocations) },
});
