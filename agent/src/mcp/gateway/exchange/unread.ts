/**
 * Bounds the bytes of answers that clients have not read, or that are incomplete: for a stream, for a caller over all
 * its answers, and for all callers. A caller over its bound loses its own largest answer. If all callers together are
 * over the bound, the caller that holds most loses its largest one: slow readers cost nobody else.
 */
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

export interface UnreadLimits {
  readonly perStream: number;
  readonly perCaller: number;
  readonly total: number;
}

/** Two answers of the largest size for a stream, and eight for a caller: many small ones at once are common. */
const PER_STREAM = 32 * 1024 * 1024;
const PER_CALLER = 128 * 1024 * 1024;
const TOTAL = 512 * 1024 * 1024;

/** Of one of so many servers: an equal part of all, but never less than one stream may hold. */
export function unreadLimits(servers: number): UnreadLimits {
  const total = Math.max(PER_STREAM, Math.floor(TOTAL / servers));
  return { perStream: PER_STREAM, perCaller: Math.min(PER_CALLER, total), total };
}

/** The answer that one client has to read. */
interface Waiting {
  readonly caller: SpiffeId;
  readonly held: () => number;
  readonly lose: (reason: string) => void;
  bytes: number;
}

interface Share {
  readonly waiting: Set<Waiting>;
  bytes: number;
}

/** Limits the bytes of answers that clients have not read. One for each server. */
export class Unread {
  readonly #limits: UnreadLimits;
  readonly #byCaller = new Map<SpiffeId, Share>();
  readonly #what: string;
  #total = 0;

  /** `what`: the name of the bytes in records. */
  constructor(limits: Partial<UnreadLimits> = {}, what = 'to read') {
    this.#limits = { ...unreadLimits(1), ...limits };
    this.#what = what;
  }

  /** Bytes of all callers. */
  get total(): number {
    return this.#total;
  }

  /**
   * Returns the function to call when the bytes `held` may have grown, and at the end. `lose` must drop all of them.
   */
  count(caller: SpiffeId, held: Waiting['held'], lose: Waiting['lose']): () => void {
    const waiting: Waiting = { caller, held, lose, bytes: 0 };
    return () => this.#look(waiting);
  }

  #look(waiting: Waiting): void {
    const { perStream, perCaller, total } = this.#limits;
    this.#measure(waiting);
    if (waiting.bytes > perStream) this.#lose(waiting, `the client has ${waiting.bytes} bytes ${this.#what}`);
    const share = this.#byCaller.get(waiting.caller);
    if (share !== undefined && share.bytes > perCaller) this.#bound(waiting.caller, share);
    if (this.#total > total) this.#boundAll();
  }

  #bound(caller: SpiffeId, share: Share): void {
    for (const each of [...share.waiting]) this.#measure(each);
    while (share.bytes > this.#limits.perCaller) {
      const largest = mostOf(share.waiting);
      if (largest === undefined) return;
      this.#lose(
        largest,
        `the clients of ${caller} have ${share.bytes} bytes ${this.#what}, this one ${largest.bytes}`,
      );
    }
  }

  #boundAll(): void {
    for (const { waiting } of [...this.#byCaller.values()])
      for (const each of [...waiting]) this.#measure(each);
    while (this.#total > this.#limits.total) {
      const share = mostOf(this.#byCaller.values());
      const largest = mostOf(share?.waiting ?? []);
      if (largest === undefined) return;
      const says = `all clients have ${this.#total} bytes ${this.#what}, those of ${largest.caller} most of them`;
      this.#lose(largest, `${says}: ${share?.bytes}`);
    }
  }

  #lose(waiting: Waiting, reason: string): void {
    this.#set(waiting, 0);
    waiting.lose(reason);
  }

  /** Asks again for the bytes: the client may have read some. */
  #measure(waiting: Waiting): void {
    this.#set(waiting, waiting.held());
  }

  #set(waiting: Waiting, bytes: number): void {
    const share = this.#byCaller.get(waiting.caller) ?? { waiting: new Set(), bytes: 0 };
    share.bytes += bytes - waiting.bytes;
    this.#total += bytes - waiting.bytes;
    waiting.bytes = bytes;
    if (bytes === 0) share.waiting.delete(waiting);
    else share.waiting.add(waiting);
    if (share.waiting.size === 0) this.#byCaller.delete(waiting.caller);
    else this.#byCaller.set(waiting.caller, share);
  }
}

function mostOf<T extends { readonly bytes: number }>(all: Iterable<T>): T | undefined {
  let most: T | undefined;
  for (const each of all) if (most === undefined || each.bytes > most.bytes) most = each;
  return most;
}
