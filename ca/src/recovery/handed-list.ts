/** A list of revocations that a peer hands back in parts. It proves itself at the end, so until then it is bounded. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { parseReason, parseTarget, type Revocation } from '@chancery/shared/revocation/revocation.ts';
import type { revocationsDigest } from '@chancery/shared/voucher/state-digest.ts';

/** As peers have it. */
export type Revoked = Parameters<typeof revocationsDigest>[0][number];

/** Twice what may be in force: revocations of a backup may stand beside newer ones. */
const MAX_REVOCATIONS = 20_000;
/** With all of them a list has about 8 MiB. */
const MAX_SERIALS = 200_000;

/** One for each list. */
export class HandedList {
  readonly #list: (Revoked & { readonly serials: string[] })[] = [];
  #serials = 0;

  /** Whole as far as it came. */
  get list(): readonly Revoked[] {
    return this.#list;
  }

  /**
   * Adds one part, in the order of the numbers. Serials that are too many for one part go on in the next, under the
   * number of their revocation and with nothing else. Throws revocation for the first that no CA would have sent.
   */
  add(part: readonly Revoked[]): void {
    ensure(part.length > 0, 'revocation', 'a part of a list has no revocation');
    for (const each of part) this.#add(each);
  }

  #add(each: Revoked): void {
    const last = this.#list.at(-1);
    this.#serials += each.serials.length;
    ensure(this.#serials <= MAX_SERIALS, 'revocation', `a list has more than ${MAX_SERIALS} certificates`);
    if (last?.number === each.number && each.kind === '') {
      last.serials.push(...each.serials.map(readSerial));
      return;
    }
    ensure(last === undefined || last.number < each.number, 'revocation', 'a list is not in order');
    ensure(
      this.#list.length < MAX_REVOCATIONS,
      'revocation',
      `a list has more than ${MAX_REVOCATIONS} entries`,
    );
    readRevoked(each);
    this.#list.push({ ...each, serials: [...each.serials] });
  }
}

const readSerial = (serial: string): string => parseTarget('serial', serial).value;

/** Throws revocation for what this release cannot read. */
export function readRevoked({ number, kind, value, serials, reason, until }: Revoked): Revocation {
  return {
    number: Number(number),
    target: parseTarget(kind, value),
    serials: serials.map(readSerial),
    reason: parseReason(reason),
    until: until === 0n ? undefined : new Date(Number(until) * 1000),
  };
}
