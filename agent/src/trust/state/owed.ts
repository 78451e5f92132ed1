/** What the CA is owed: signed states of revocations that a restored CA may have forgotten. */
import type { Revoked } from '@chancery/proto/gen/chancery/v1/trust.ts';
import type { Revocation } from '@chancery/shared/revocation/revocation.ts';
import { type RevocationSet, revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
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
  /** A CA has refused it for good. */
  readonly refused?: true | undefined;
}

/** Each may have megabytes. */
export const MAX_OWED = 2;

/**
 * Revocations that the CA said before its restore and does not have now: its own state takes their place, so they are
 * kept here. What it has refused is kept only; what it could not take yet is in force, too.
 */
export class Owed {
  #list: readonly SavedOwed[] = [];
  #joined: { readonly said: RevocationSet; readonly set: RevocationSet } | undefined;

  /** The oldest first. The same list where nothing has changed. */
  get list(): readonly SavedOwed[] {
    return this.#list;
  }

  /** Takes what was saved. */
  resume(list: readonly SavedOwed[]): void {
    this.#list = list.slice(-MAX_OWED);
    this.#joined = undefined;
  }

  /** Keeps it until `drop`. */
  keep(owed: SavedOwed): void {
    if (this.#list.every(({ note }) => note !== owed.note)) this.resume([...this.#list, owed]);
  }

  /** What is kept under this note is not in force by that any longer. */
  refuse(note: string): void {
    if (this.#list.some((each) => each.note === note && each.refused !== true))
      this.resume(this.#list.map((each) => (each.note === note ? { ...each, refused: true } : each)));
  }

  /** A CA has it. */
  drop(note: string): void {
    if (this.#list.some((each) => each.note === note))
      this.resume(this.#list.filter((each) => each.note !== note));
  }

  /** What the CA has said, and what it may have forgotten. The same set where the same is in force. */
  with(said: RevocationSet): RevocationSet {
    if (this.#joined?.said !== said) this.#joined = { said, set: this.#join(said) };
    return this.#joined.set;
  }

  #join(said: RevocationSet): RevocationSet {
    const known = new Set(said.list.map(nameOf));
    const waiting = this.#list.filter(({ refused }) => refused !== true);
    const more = waiting.flatMap(({ revocations: { list } }) =>
      list.filter((each) => !known.has(nameOf(each))),
    );
    return more.length === 0 ? said : revocationSet([...said.list, ...more], said.sequence);
  }
}

/** One number may have more serials, or another end, after a restore. */
const nameOf = ({ number, target: { kind, value }, serials, until }: Revocation): string =>
  JSON.stringify([number, kind, value, serials, until]);

/** For the CA. */
export const heldOf = ({ revocations, note, checkpoint }: SavedOwed): Held => ({
  ...{ note, checkpoint, sequence: revocations.sequence, list: revokedMessages(revocations) },
});
