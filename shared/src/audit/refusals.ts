/**
 * Folds repeated refusals, and gives each refused peer a reference to their records. Strangers, however many, take no
 * place of peers that have proved who they are.
 */
import { createHmac } from 'node:crypto';
import type { Clock } from '../ground/clock.ts';
import type { AuditEvent } from './event.ts';
import { type Folded, Folder } from './folder.ts';

export type RefusalEvent = Extract<AuditEvent, { type: 'request.refused' }>;

export interface RefusalsOptions {
  readonly clock: Clock;
  /** Refusals of one source, method and code that are recorded in full in each window. */
  readonly inFull: number;
  readonly record: (refusal: RefusalEvent) => void;
  readonly onLost: (error: unknown, lost: Folded) => void;
  /** Secret: references tell the sources of refusals apart, and must not be guessed. */
  readonly referenceKey: Uint8Array;
}

export interface RefusedPeer {
  /** Whose refusals are one: an address, an IPv6 /64, a user of this machine. */
  readonly source: string;
  readonly isStranger: boolean;
}

interface Refused {
  /** The reference. */
  readonly id: string;
  readonly refusal: RefusalEvent;
  readonly crowded: boolean;
}

const REFERENCE_DIGITS = 8;

/** Records refusals. The caller closes it, which writes what is counted and not yet written. */
export class Refusals {
  readonly #options: RefusalsOptions;
  readonly #proven: Folder<Refused>;
  readonly #strangers: Folder<Refused>;

  constructor(options: RefusalsOptions) {
    this.#options = options;
    const { clock, inFull, onLost } = options;
    const write = (told: Refused, folded: Folded | undefined) => options.record(recordOf(told, folded));
    this.#proven = new Folder({ clock, inFull, write, onLost });
    this.#strangers = new Folder({ clock, inFull, write, onLost });
  }

  /**
   * Returns the reference that the peer may be shown. It is one for all refusals of a source, so that two with one
   * public sentence do not show whether they had one reason; and every one that is shown is in a record.
   */
  tell(refusal: RefusalEvent, { source, isStranger }: RefusedPeer): string {
    const folder = isStranger ? this.#strangers : this.#proven;
    const name = folder.sourceOf(source);
    const id = createHmac('sha256', this.#options.referenceKey)
      .update(`${isStranger} ${name}`)
      .digest('hex')
      .slice(0, REFERENCE_DIGITS);
    const kind = `${refusal.rpc} ${refusal.code}`;
    return folder.add({ source, kind }, { id, refusal, crowded: name !== source });
  }

  /** Records what is counted so far. Nothing is folded afterwards. */
  close(): void {
    this.#proven.close();
    this.#strangers.close();
  }
}

function recordOf({ id, refusal, crowded }: Refused, folded: Folded | undefined): RefusalEvent {
  if (folded === undefined) return { ...refusal, reference: id };
  const { count, since } = folded;
  const peer = crowded ? 'further peers' : refusal.peer;
  return { ...refusal, peer, reference: id, count, since: since.toISOString() };
}
