/**
 * Folds repeated refusals: the first of a peer, method and code is recorded in full, the rest of the window as one
 * record with their number. A flood costs the disk a bounded number of records a window, however many peers it has.
 */
import { hex } from '../bytes.ts';
import { addSeconds, type Clock } from '../clock.ts';
import type { AuditEvent } from './event.ts';

export type RefusalEvent = Extract<AuditEvent, { type: 'request.refused' }>;

export interface FoldOptions {
  readonly clock: Clock;
  readonly windowSeconds: number;
  /** Refusals of one peer, method and code that are recorded in full in each window. */
  readonly inFull: number;
  readonly record: (refusal: RefusalEvent) => void;
  readonly randomBytes: (size: number) => Uint8Array;
}

interface Folded {
  readonly last: RefusalEvent;
  readonly seen: number;
}

/** Kinds remembered in a window; refusals of further peers are counted together, by method and code. */
const MAX_KINDS = 256;
const FURTHER_PEERS = 'further peers';
/** Peers with a reference of their own in a window; further ones share one. */
const MAX_REFERENCES = 4_096;
const REFERENCE_BYTES = 4;

export class FoldedRefusals {
  readonly #options: FoldOptions;
  readonly #kinds = new Map<string, Folded>();
  readonly #references = new Map<string, string>();
  readonly #stop = new AbortController();
  #waiting = false;

  constructor(options: FoldOptions) {
    this.#options = options;
  }

  /**
   * Returns the reference by which the peer and the records of its refusals are brought together: one for all of a
   * peer in a window, so that two refusals with one public sentence do not show whether they had one reason.
   */
  tell(unnamed: RefusalEvent): string {
    const reference = this.#referenceOf(unnamed.peer);
    const refusal = { ...unnamed, reference };
    const own = kindOf(refusal);
    const crowded = !this.#kinds.has(own) && this.#kinds.size >= MAX_KINDS;
    const told = crowded ? { ...refusal, peer: FURTHER_PEERS } : refusal;
    const kind = crowded ? kindOf(told) : own;
    const seen = (this.#kinds.get(kind)?.seen ?? 0) + 1;
    this.#kinds.set(kind, { last: told, seen });
    if (seen <= this.#options.inFull) this.#options.record(told);
    if (!this.#waiting) void this.#window();
    return reference;
  }

  /** Records what is counted so far. Nothing is folded afterwards. */
  close(): void {
    this.#stop.abort();
    this.#flush();
  }

  #referenceOf(peer: string): string {
    const known = this.#references.has(peer) || this.#references.size < MAX_REFERENCES;
    const name = known ? peer : FURTHER_PEERS;
    const reference = this.#references.get(name) ?? hex(this.#options.randomBytes(REFERENCE_BYTES));
    this.#references.set(name, reference);
    return reference;
  }

  /** The wall clock may step back: then a window is longer, and still one record a kind. */
  async #window(): Promise<void> {
    const { clock, windowSeconds } = this.#options;
    this.#waiting = true;
    try {
      await clock.sleepUntil(addSeconds(clock.now(), windowSeconds), this.#stop.signal);
    } catch {
      return;
    }
    this.#waiting = false;
    this.#flush();
  }

  #flush(): void {
    const kinds = [...this.#kinds.values()];
    this.#kinds.clear();
    this.#references.clear();
    for (const { last, seen } of kinds) {
      const more = seen - this.#options.inFull;
      if (more > 0) this.#options.record({ ...last, more });
    }
  }
}

const kindOf = ({ peer, rpc, code }: RefusalEvent): string => JSON.stringify([peer, rpc, code]);
