/**
 * Signs with the key of the audit log: the states that agents are sent, each once for however many agents, and for
 * operators the certificate that the CA shows.
 */
import { type ShownPeer, signPeer } from '@chancery/shared/voucher/peer-note.ts';
import { type StateClaim, signState } from '@chancery/shared/voucher/state-note.ts';
import type { LogKey } from './log-key.ts';

/** One for each process. */
export class StateNotes {
  readonly #key: LogKey;
  /** By the state, and in it by the subject. */
  readonly #made = new WeakMap<object, Map<string, string>>();

  constructor(key: LogKey) {
    this.#key = key;
  }

  /** The note of a state that never changes; `claim` is asked the first time. */
  of(state: object, subject: string | undefined, claim: () => Omit<StateClaim, 'subject'>): string {
    const made = this.#made.get(state) ?? new Map<string, string>();
    this.#made.set(state, made);
    const known = made.get(subject ?? '');
    if (known !== undefined) return known;
    const { verifier, privateKey } = this.#key;
    const note = signState({ ...claim(), subject }, verifier, privateKey);
    made.set(subject ?? '', note);
    return note;
  }

  /** The note of a certificate that the CA shows, for one nonce. */
  ofPeer(peer: ShownPeer): string {
    const { verifier, privateKey } = this.#key;
    return signPeer(peer, verifier, privateKey);
  }
}
