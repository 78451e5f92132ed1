/**
 * Which node holds which key, for as long as its certificate is valid. In memory, because keys are random: an index on
 * disk would rewrite a page of its own for every certificate. About 200 bytes each; filled from the database at the
 * start, and changed only within its transactions.
 */

import type { Node } from '@chancery/shared/evidence/node.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';

interface Held extends Node {
  readonly notAfter: number;
}

/** SHA-256 of a key as latin1 text, until when, and the time now; times in milliseconds. */
interface Taken extends Held {
  readonly key: string;
  readonly now: number;
}

/** What is taken in a transaction that is rolled back must be given back. */
export class KeyHolders {
  readonly #held = new Map<string, Held>();

  /** How many keys are held. */
  get size(): number {
    return this.#held.size;
  }

  /**
   * Counts a certificate on record. The longest validity counts where one node has several for a key. Who held it first
   * keeps it: a record that another node has of it, from before this was refused, must not lock the owner out.
   */
  load({ key, platform, node, notAfter, now }: Taken): void {
    const known = this.#held.get(key);
    if (known === undefined || known.notAfter <= now) this.#held.set(key, { platform, node, notAfter });
    else if (isSame(known, { platform, node }))
      this.#held.set(key, { platform, node, notAfter: Math.max(known.notAfter, notAfter) });
  }

  /**
   * Counts a certificate that may still not be recorded; the returned function takes it back, before anything else is
   * taken. Throws csr_key if another node has the key.
   */
  take(taken: Taken): () => void {
    const { key, now } = taken;
    const before = this.#held.get(key);
    const elsewhere = before !== undefined && before.notAfter > now && !isSame(before, taken);
    ensure(!elsewhere, 'csr_key', 'the key belongs to another node');
    this.load(taken);
    return () => {
      if (before === undefined) this.#held.delete(key);
      else this.#held.set(key, before);
    };
  }

  /** Forgets all keys. */
  clear(): void {
    this.#held.clear();
  }

  /** Forgets the keys whose certificates have expired at `now` (milliseconds since 1970). */
  forgetExpired(now: number): void {
    for (const [key, { notAfter }] of this.#held) if (notAfter <= now) this.#held.delete(key);
  }
}

const isSame = (a: Node, b: Node): boolean => a.platform === b.platform && a.node === b.node;
