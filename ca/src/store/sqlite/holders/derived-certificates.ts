/**
 * How many valid derived certificates each node has: those that it got by IssueX509 with an attested one. Their number
 * is bounded, because each costs a record and memory until its end. In memory: 8 bytes each; filled from the database
 * at the start, and changed only within its transactions.
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

/** What is added in a transaction that is rolled back must be taken back. */
export class DerivedCertificates {
  readonly #max: number;
  /** Ends by node. */
  readonly #ends = new Map<string, number[]>();

  constructor(max: number = MAX_PER_NODE) {
    this.#max = max;
  }

  /** Counts a certificate whose recording may yet fail; the returned function takes it back. Throws rate. */
  add(certificate: DerivedCertificate, now: Date): () => void {
    const { origin, notAfter } = certificate;
    if (origin === undefined) return () => {};
    const key = nodeName(certificate);
    if ((this.#ends.get(key)?.length ?? 0) >= this.#max) this.#forget(key, now);
    const ends = this.#ends.get(key) ?? [];
    ensure(ends.length < this.#max, 'rate', `${key} has ${ends.length} valid certificates by IssueX509`);
    this.load(certificate);
    return () => {
      const at = this.#ends.get(key)?.lastIndexOf(notAfter.getTime()) ?? -1;
      if (at >= 0) this.#ends.get(key)?.splice(at, 1);
    };
  }

  /** Counts what is on record, even above the bound. */
  load(certificate: DerivedCertificate): void {
    const { origin, notAfter } = certificate;
    if (origin === undefined) return;
    const key = nodeName(certificate);
    const ends = this.#ends.get(key) ?? [];
    ends.push(notAfter.getTime());
    this.#ends.set(key, ends);
  }

  /** Forgets all certificates. */
  clear(): void {
    this.#ends.clear();
  }

  /** Forgets the certificates that have expired at `now`. */
  forgetExpired(now: Date): void {
    for (const key of this.#ends.keys()) this.#forget(key, now);
  }

  /** How many nodes have such certificates. */
  get size(): number {
    return this.#ends.size;
  }

  #forget(key: string, now: Date): void {
    const valid = this.#ends.get(key)?.filter((end) => end > now.getTime()) ?? [];
    if (valid.length === 0) this.#ends.delete(key);
    else this.#ends.set(key, valid);
  }
}
