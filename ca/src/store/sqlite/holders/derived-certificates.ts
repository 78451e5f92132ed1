/**
 * How many valid derived certificates each node has: those that it got by IssueX509 with an attested one. Their number
 * is bounded, because each costs a record and memory until its end. In memory: 8 bytes each; read from the database
 * where a node is asked for first, and changed only within its transactions.
 */

import { type Node, nodeName } from '@chancery/shared/evidence/node.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';

/** Two at once for 5,000 processes of one node: certificates are renewed at half of their life. */
const MAX_PER_NODE = 10_000;

/** `origin` is the serial of the certificate that it was requested with; undefined for an attested certificate. */
interface DerivedCertificate extends Node {
  readonly origin?: string | undefined;
  readonly notAfter: Date;
}

/** The ends of a node's derived certificates that end after a time. */
export type ReadEnds = (node: Node, after: Date) => readonly Date[];

/** What is added in a transaction that is rolled back must be taken back. */
export class DerivedCertificates {
  readonly #read: ReadEnds;
  readonly #max: number;
  /** Ends by node. */
  readonly #ends = new Map<string, number[]>();

  constructor(read: ReadEnds, max: number = MAX_PER_NODE) {
    this.#read = read;
    this.#max = max;
  }

  /**
   * Counts a certificate that is not recorded yet, and whose recording may fail; the returned function takes it back.
   * Throws rate.
   */
  add(certificate: DerivedCertificate, now: Date): () => void {
    const { origin, notAfter } = certificate;
    if (origin === undefined) return () => {};
    const key = nodeName(certificate);
    if ((this.#ends.get(key)?.length ?? 0) >= this.#max) this.#forget(key, now);
    const ends = this.#ends.get(key) ?? this.#read(certificate, now).map((each) => each.getTime());
    ensure(ends.length < this.#max, 'rate', `${key} has ${ends.length} valid certificates by IssueX509`);
    ends.push(notAfter.getTime());
    this.#ends.set(key, ends);
    return () => {
      const at = this.#ends.get(key)?.lastIndexOf(notAfter.getTime()) ?? -1;
      if (at >= 0) this.#ends.get(key)?.splice(at, 1);
    };
  }

  /** Forgets all: what is asked for is read again. */
  clear(): void {
    this.#ends.clear();
  }

  /** Forgets the certificates that have expired at `now`. */
  forgetExpired(now: Date): void {
    for (const key of this.#ends.keys()) this.#forget(key, now);
  }

  /** How many nodes are known to have such certificates. */
  get size(): number {
    return this.#ends.size;
  }

  #forget(key: string, now: Date): void {
    const valid = this.#ends.get(key)?.filter((end) => end > now.getTime()) ?? [];
    if (valid.length === 0) this.#ends.delete(key);
    else this.#ends.set(key, valid);
  }
}
