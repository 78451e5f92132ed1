/**
 * Which node holds which key, for as long as its certificate is valid. In memory, because keys are random: an index on
 * disk would rewrite a page of its own for every certificate. About 200 bytes each; filled from the store at the start.
 */

import type { Holder } from '@chancery/shared/evidence/several.ts';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';

interface Held extends Holder {
  notAfter: number;
}

/** A key that is being recorded, and for how many certificates of the node at once. */
interface Coming extends Holder {
  count: number;
}

/** One certificate's key on its way to the disk. */
export interface Claim {
  /** Within the transaction, which may be tried again. Throws csr_key where another node has the key. */
  take(): void;
  /** The certificate is on record. */
  keep(): void;
  /** It is not. */
  release(): void;
}

export class KeyHolders {
  readonly #held = new Map<string, Held>();
  readonly #coming = new Map<string, Coming>();

  get size(): number {
    return this.#held.size;
  }

  /**
   * The longest validity counts where one node has several certificates for a key. Who held it first keeps it: a record
   * that another node has of it, from before this was refused, must not lock the owner out.
   */
  add(
    keySha256: Uint8Array,
    { platform, node }: Holder,
    { notAfter, now }: { notAfter: Date; now: Date },
  ): void {
    const key = nameOf(keySha256);
    const known = this.#held.get(key);
    const until = notAfter.getTime();
    if (known === undefined || known.notAfter <= now.getTime())
      this.#held.set(key, { platform, node, notAfter: until });
    else if (isSame(known, { platform, node })) known.notAfter = Math.max(known.notAfter, until);
  }

  claim(
    keySha256: Uint8Array,
    { platform, node }: Holder,
    { notAfter, now }: { notAfter: Date; now: Date },
  ): Claim {
    const key = nameOf(keySha256);
    let taken: Coming | undefined;
    const release = (): void => {
      if (taken === undefined) return;
      taken.count -= 1;
      if (taken.count === 0) this.#coming.delete(key);
      taken = undefined;
    };
    return {
      take: () => {
        if (taken !== undefined) return;
        const elsewhere = this.isElsewhere(keySha256, { platform, node }, now);
        ensure(!elsewhere, 'csr_key', 'the key belongs to another node');
        taken = this.#coming.get(key) ?? { platform, node, count: 0 };
        taken.count += 1;
        this.#coming.set(key, taken);
      },
      keep: () => {
        this.add(keySha256, { platform, node }, { notAfter, now });
        release();
      },
      release,
    };
  }

  isElsewhere(keySha256: Uint8Array, holder: Holder, now: Date): boolean {
    const key = nameOf(keySha256);
    const coming = this.#coming.get(key);
    if (coming !== undefined && !isSame(coming, holder)) return true;
    const held = this.#held.get(key);
    return held !== undefined && held.notAfter > now.getTime() && !isSame(held, holder);
  }

  forgetExpired(now: Date): void {
    for (const [key, { notAfter }] of this.#held) if (notAfter <= now.getTime()) this.#held.delete(key);
  }
}

const isSame = (a: Holder, b: Holder): boolean => a.platform === b.platform && a.node === b.node;
const nameOf = (keySha256: Uint8Array): string => asBuffer(keySha256).toString('latin1');
