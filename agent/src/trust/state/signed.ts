/** Whether a part of a snapshot is signed by the key of the CA's audit log, and no older than the one before it. */
import type { Bundle, Policy, Revocations } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import { openCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import { type NoteKey, readVerifierKey } from '@chancery/shared/tlog/note.ts';
import { bundleDigest, policyDigest, revocationsDigest } from '@chancery/shared/voucher/state-digest.ts';
import { type StateClaim, verifyState } from '@chancery/shared/voucher/state-note.ts';
import type { Part } from './reading.ts';
import type { State } from './snapshot.ts';

/** The numbers of the parts that came with a signature. */
export type SignedNumbers = Partial<Readonly<Record<Part, bigint>>>;

/** Signed notes of the CA, to be handed back to it. */
export interface Kept {
  /** Of the revocations in force. */
  readonly note: string;
  /** Of the audit log: the newest, or empty. */
  readonly checkpoint: string;
}

type Message = Bundle | Policy | Revocations;

/**
 * Characters of a note. One may have signatures of witnesses, and must not fill the agent's disk with them. Two of them
 * are handed back in one message of 16 KiB.
 */
export const MAX_NOTE = 4 * 1024;

/** One for each agent. */
export class Signed {
  #numbers: SignedNumbers = {};
  /** Of the last bundle: it comes with each snapshot. */
  #bundle: { readonly note: string; readonly digest: string } | undefined;
  #checkpoint = { text: '', size: 0 };
  readonly #verified = new WeakSet<Message>();
  readonly #subject: () => string;

  /** `subject` is the SPIFFE ID that policies for this agent name. */
  constructor(subject: () => string) {
    this.#subject = subject;
  }

  /** None until the CA has signed a state: then every state must be signed. */
  get numbers(): SignedNumbers {
    return this.#numbers;
  }

  /** The newest checkpoint of the audit log that the CA has sent, or empty. */
  get checkpoint(): string {
    return this.#checkpoint.text;
  }

  /** As they were saved. */
  resume(numbers: SignedNumbers, checkpoint: string, key: NoteKey | undefined): void {
    this.#numbers = numbers;
    this.see(checkpoint, key);
  }

  /** Keeps a checkpoint that the key has signed and that is newer. Does not throw. */
  see(checkpoint: string, key: NoteKey | undefined): void {
    if (key === undefined || checkpoint === '' || checkpoint === this.#checkpoint.text) return;
    if (checkpoint.length > MAX_NOTE) return;
    try {
      const { size } = openCheckpoint(utf8(checkpoint), key);
      if (size > this.#checkpoint.size) this.#checkpoint = { text: checkpoint, size };
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
  }

  /**
   * Throws tlog where the part is not signed though the CA has signed states before, where the signature is not of this
   * part, and where a newer one was taken. Without a kept key only the bundle is verified, by the key that it names:
   * that one is about to be kept.
   */
  ensure(part: Part, state: State, kept: NoteKey | undefined): void {
    const message = state[part];
    if (message === undefined) return;
    const known = this.#numbers[part] ?? 0n;
    const number = numberOf(message);
    // Also of one that was verified: another stream may have brought a newer one since.
    const says = `the ${part} ${are(part)} number ${number}, and ${known} was taken before`;
    ensure(number >= known, 'tlog', says);
    if (this.#verified.has(message)) return;
    const { note } = message;
    const key = kept ?? (part === 'bundle' ? keyIn(state) : undefined);
    if (note === '' || key === undefined) {
      const signed = 'the key of its audit log, and all that this CA sent before was';
      ensure(
        Object.keys(this.#numbers).length === 0,
        'tlog',
        `the ${part} ${are(part)} not signed by ${signed}`,
      );
      return;
    }
    ensure(
      note.length <= MAX_NOTE,
      'tlog',
      `the note of the ${part} has ${note.length} characters, at most ${MAX_NOTE}`,
    );
    const claim = claimOf(part, state, this.#subject);
    this.#verify(note, claim, key);
    this.#verified.add(message);
    this.#numbers = { ...this.#numbers, [part]: claim.number };
  }

  #verify(note: string, claim: StateClaim, key: NoteKey): void {
    const digest = Buffer.from(claim.digest).toString('base64');
    const isBundle = claim.part === 'bundle';
    if (isBundle && this.#bundle?.note === note && this.#bundle.digest === digest) return;
    verifyState(note, claim, key);
    if (isBundle) this.#bundle = { note, digest };
  }
}

/** Undefined if the bundle names none. Throws tlog. */
function keyIn({ bundle }: State): NoteKey | undefined {
  const named = bundle?.logKey ?? '';
  return named === '' ? undefined : readVerifierKey(named);
}

const are = (part: Part): string => (part === 'revocations' ? 'are' : 'is');

const numberOf = (message: Message): bigint => ('version' in message ? message.version : message.sequence);

/** What the note of this part must say. */
function claimOf(part: Part, { bundle, policy, revocations }: State, subject: () => string): StateClaim {
  if (part === 'bundle' && bundle !== undefined)
    return { part, number: bundle.sequence, digest: bundleDigest(bundle) };
  if (part === 'policy' && policy !== undefined)
    return { part, number: policy.version, subject: subject(), digest: policyDigest(policy.resources) };
  return {
    part,
    number: revocations?.sequence ?? 0n,
    digest: revocationsDigest(revocations?.list ?? []),
  };
}
