/**
 * Reads DER (X.690): definite and minimal lengths, one encoding for each value, no bytes left over, a bounded depth.
 * What is read here, write.ts writes back byte for byte, so two encodings of one certificate cannot both be accepted.
 */
import { ensure, IdentityError, type Refusal } from '../ground/errors.ts';
import { readOid } from './oid.ts';
import { readTime, type TimeForm } from './time.ts';

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** `[n]` over a constructed type: EXPLICIT, or IMPLICIT over a SEQUENCE or SET. */
export const constructed = (n: number): number => 0xa0 | n;
/** `[n] IMPLICIT` over a primitive type. */
export const primitive = (n: number): number => 0x80 | n;

/** A certificate needs 9 levels. The bound keeps nested input from filling the stack (attacks.md I4). */
const MAX_DEPTH = 16;

/**
 * Reads elements in order. The bytes that it returns are views of its input. Its methods throw the code of the
 * constructor, naming `what`. What each element passes through makes no sentence before it fails.
 */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #code: Refusal;
  readonly #depth: number;
  #at = 0;

  constructor(bytes: Uint8Array, code: Refusal, depth = 0) {
    this.#bytes = bytes;
    this.#code = code;
    this.#depth = depth;
  }

  /** The next element's tag; undefined at the end. */
  get tag(): number | undefined {
    return this.#bytes[this.#at];
  }

  /** The whole next element: tag, length and content. */
  element(tag: number, what: string): Uint8Array {
    const start = this.#at;
    this.#pass(tag, what);
    return this.#bytes.subarray(start, this.#at);
  }

  /** The content of the next element, without tag and length. */
  content(tag: number, what: string): Uint8Array {
    const start = this.#pass(tag, what);
    return this.#bytes.subarray(start, this.#at);
  }

  /** Goes to the end of the next element; returns where its content begins. */
  #pass(tag: number, what: string): number {
    const found = this.tag;
    if (found !== tag) throw this.#otherTag(found, tag, what);
    this.#at += 1;
    const length = this.#length(what);
    if (length > this.#bytes.length - this.#at) throw this.#refusal(`${what} ends early`);
    const start = this.#at;
    this.#at += length;
    return start;
  }

  /** A reader over the content of the next element, which must be constructed. */
  enter(tag: number, what: string): DerReader {
    if (this.#depth >= MAX_DEPTH) throw this.#refusal(`${what} is nested deeper than ${MAX_DEPTH}`);
    return new DerReader(this.content(tag, what), this.#code, this.#depth + 1);
  }

  /** A reader over the content of a SEQUENCE. */
  sequence(what: string): DerReader {
    return this.enter(TAG.sequence, what);
  }

  /** Undefined when the next element has another tag. */
  optional(tag: number, what: string): DerReader | undefined {
    return this.tag === tag ? this.enter(tag, what) : undefined;
  }

  /** X.690 §11.1: TRUE is 0xff. */
  boolean(what: string): boolean {
    const content = this.content(TAG.boolean, what);
    ensure(
      content.length === 1 && (content[0] === 0 || content[0] === 0xff),
      this.#code,
      `${what} is not a DER BOOLEAN`,
    );
    return content[0] === 0xff;
  }

  /** `BOOLEAN DEFAULT FALSE`. §11.5 leaves FALSE out, but many issuers write it, so it is accepted. */
  flag(what: string): boolean {
    return this.tag === TAG.boolean && this.boolean(what);
  }

  /** Two's complement, minimal (§8.3.2). */
  integer(what: string, tag: number = TAG.integer): Uint8Array {
    const content = this.content(tag, what);
    const [first, second = 0] = content;
    ensure(first !== undefined, this.#code, `${what} is an empty INTEGER`);
    const padded =
      content.length > 1 && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80));
    ensure(!padded, this.#code, `${what} is an INTEGER with padding`);
    return content;
  }

  /** An INTEGER from 0 to 2^31 - 1. */
  smallInteger(what: string, tag: number = TAG.integer): number {
    const content = this.integer(what, tag);
    const small = content.length <= 4 && (content[0] ?? 0x80) < 0x80;
    ensure(small, this.#code, `${what} is not a small INTEGER`);
    return content.reduce((value, byte) => value * 256 + byte, 0);
  }

  /** Dotted. */
  oid(what: string): string {
    return readOid(this.content(TAG.oid, what), this.#code, what);
  }

  /** The content of an OCTET STRING. */
  octets(what: string): Uint8Array {
    return this.content(TAG.octetString, what);
  }

  /** The bytes of a BIT STRING, and how many bits at its end are unused. Unused bits must be 0 (§11.2.1). */
  bitString(what: string): { bytes: Uint8Array; unused: number } {
    const content = this.content(TAG.bitString, what);
    const unused = content[0] ?? 8;
    ensure(unused <= 7, this.#code, `${what} is a BIT STRING without a count of unused bits`);
    const bytes = content.subarray(1);
    ensure(bytes.length > 0 || unused === 0, this.#code, `${what} is an empty BIT STRING with unused bits`);
    const last = bytes[bytes.length - 1] ?? 0;
    ensure((last & ((1 << unused) - 1)) === 0, this.#code, `${what} has unused bits that are set`);
    return { bytes, unused };
  }

  /** A BIT STRING of whole bytes: a signature, a public key. */
  bitBytes(what: string): Uint8Array {
    const { bytes, unused } = this.bitString(what);
    ensure(unused === 0, this.#code, `${what} is not whole bytes`);
    return bytes;
  }

  /** Reads a NULL. */
  null(what: string): void {
    ensure(this.content(TAG.null, what).length === 0, this.#code, `${what} is a NULL with content`);
  }

  /** RFC 5280 §4.1.2.5, or as `form` says: UTCTime to 2049, GeneralizedTime from 2050, both in whole seconds of UTC. */
  time(what: string, form: TimeForm = 'rfc5280'): Date {
    const tag = this.tag === TAG.generalizedTime ? TAG.generalizedTime : TAG.utcTime;
    return readTime(this.element(tag, what), this.#code, what, form);
  }

  /** Throws if bytes are left. */
  done(what: string): void {
    const left = this.#bytes.length - this.#at;
    if (left !== 0) throw this.#refusal(`${what} has ${left} trailing bytes`);
  }

  /** §10.1. Refuses the indefinite form (0x80), the reserved one (0xff) and lengths that are not minimal. */
  #length(what: string): number {
    const first = this.#byte(what);
    if (first < 0x80) return first;
    const size = first & 0x7f;
    ensure(size > 0, this.#code, `${what} has an indefinite length`);
    ensure(size <= 4, this.#code, `${what} has a length of ${size} bytes`);
    let length = 0;
    for (let i = 0; i < size; i += 1) length = length * 256 + this.#byte(what);
    ensure(
      length >= 0x80 && length >= 256 ** (size - 1),
      this.#code,
      `${what} has a length that is not minimal`,
    );
    return length;
  }

  #byte(what: string): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw this.#refusal(`${what} ends early`);
    this.#at += 1;
    return byte;
  }

  #otherTag(found: number | undefined, tag: number, what: string): IdentityError {
    if (found === undefined) return this.#refusal(`${what} is missing`);
    return this.#refusal(`${what} has tag 0x${found.toString(16)}, not 0x${tag.toString(16)}`);
  }

  #refusal(detail: string): IdentityError {
    return new IdentityError(this.#code, detail);
  }
}
