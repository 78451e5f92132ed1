/**
 * Which node holds which key, for as long as its certificate is valid. In memory, because keys are random: an index on
 * disk would rewrite a page of its own for every certificate. About 200 bytes each; filled from the store at the start.
 */
import { asBuffer } from '@chancery/shared/bytes.ts';
import type { Holder } from '@chancery/shared/evidence/several.ts';

interface Held extends Holder {
  notAfter: number;
}

export class KeyHolders {
  readonly #held = new Map<string, Held>();

  get size(): number {
    return this.#held.size;
  }

  /** The longest validity counts where one node has several certificates for a key. */
  add(keySha256: Uint8Array, { platform, node }: Holder, notAfter: Date): void {
    const key = nameOf(keySha256);
    const known = this.#held.get(key);
    const until = Math.max(known?.notAfter ?? 0, notAfter.getTime());
    if (known?.platform === platform && known.node === node) known.notAfter = until;
    else this.#held.set(key, { platform, node, notAfter: until });
  }

  isElsewhere(keySha256: Uint8Array, { platform, node }: Holder, now: Date): boolean {
    const held = this.#held.get(nameOf(keySha256));
    if (held === undefined || held.notAfter <= now.getTime()) return false;
    return held.platform !== platform || held.node !== node;
  }

  forgetExpired(now: Date): void {
    for (const [key, { notAfter }] of this.#held) if (notAfter <= now.getTime()) this.#held.delete(key);
  }
}

const nameOf = (keySha256: Uint8Array): string => asBuffer(keySha256).toString('latin1');
