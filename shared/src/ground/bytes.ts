/** Bytes: one type (`Uint8Array`), one way to join, compare, cut and print them. */
import { isUtf8 } from 'node:buffer';
import { timingSafeEqual } from 'node:crypto';
import { ensure, IdentityError, type Refusal } from './errors.ts';

/** A copy of all parts, one after the other. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

/** Constant time in the content; the lengths are not secret. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Hexadecimal digits, lower case, without separators. */
export const hex = (bytes: Uint8Array): string => asBuffer(bytes).toString('hex');
/** Base64 with padding (RFC 4648 §4). */
export const base64 = (bytes: Uint8Array): string => asBuffer(bytes).toString('base64');
/** Base64url without padding (RFC 4648 §5). */
export const base64url = (bytes: Uint8Array): string => asBuffer(bytes).toString('base64url');
/** The bytes of a text; lone surrogates become U+FFFD. */
export const utf8 = (text: string): Uint8Array => Buffer.from(text, 'utf8');

/** A Buffer over the same memory, for the methods that only Buffer has. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const BOM = Uint8Array.of(0xef, 0xbb, 0xbf);

/** Who reads JSON may leave out a byte order mark (RFC 8259 section 8.1); .NET begins its output with one. */
export function withoutBom(bytes: Uint8Array): Uint8Array {
  return BOM.every((byte, at) => bytes[at] === byte) ? bytes.subarray(BOM.length) : bytes;
}

/** One byte: `value` modulo 256. */
export function u8(value: number): Uint8Array {
  return Uint8Array.of(value);
}

/** Two bytes, big-endian. Throws RangeError beyond 65535. */
export function u16(value: number): Uint8Array {
  const out = Buffer.allocUnsafe(2);
  out.writeUInt16BE(value);
  return out;
}

/** Four bytes, big-endian: `value` modulo 2^32. */
export function u32(value: number): Uint8Array {
  const out = Buffer.allocUnsafe(4);
  out.writeUInt32BE(value >>> 0);
  return out;
}

/** Four-byte big-endian length, then the bytes: the prefix that keeps neighbouring fields apart in a hash. */
export function lp(bytes: Uint8Array): Uint8Array {
  return concat(u32(bytes.length), bytes);
}

/** Cuts big-endian structures. Every cut is bounded; `done` refuses what is left over. */
export class Reader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #code: Refusal;
  #at = 0;

  constructor(bytes: Uint8Array, code: Refusal) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#code = code;
  }

  /** How many bytes were read. */
  get offset(): number {
    return this.#at;
  }

  /** How many bytes are left. */
  get left(): number {
    return this.bytes.length - this.#at;
  }

  /** An unsigned 8-bit integer. */
  u8(what: string): number {
    return this.#view.getUint8(this.#step(1, what));
  }

  /** An unsigned 16-bit integer, big-endian. */
  u16(what: string): number {
    return this.#view.getUint16(this.#step(2, what));
  }

  /** An unsigned 32-bit integer, big-endian. */
  u32(what: string): number {
    return this.#view.getUint32(this.#step(4, what));
  }

  /** An unsigned 64-bit integer, big-endian. */
  u64(what: string): bigint {
    return this.#view.getBigUint64(this.#step(8, what));
  }

  /** A view, not a copy. */
  take(length: number, what: string): Uint8Array {
    const at = this.#step(length, what);
    return this.bytes.subarray(at, at + length);
  }

  /** TPM2B: two bytes of length, then the bytes. */
  sized16(what: string, max = 0xffff): Uint8Array {
    const length = this.u16(what);
    ensure(length <= max, this.#code, `${what} is ${length} bytes, at most ${max} are read`);
    return this.take(length, what);
  }

  /** A view of the bytes behind a 32-bit length, at most `max`. */
  sized32(what: string, max: number): Uint8Array {
    const length = this.u32(what);
    ensure(length <= max, this.#code, `${what} is ${length} bytes, at most ${max} are read`);
    return this.take(length, what);
  }

  /** Throws if bytes are left. */
  done(what: string): void {
    ensure(this.left === 0, this.#code, `${what} has ${this.left} trailing bytes`);
  }

  #step(length: number, what: string): number {
    ensure(length <= this.left, this.#code, `${what} ends early: ${length} bytes needed, ${this.left} left`);
    const at = this.#at;
    this.#at += length;
    return at;
  }
}

/** Throws the code if the bytes are not UTF-8, as text of Windows tools and old systems is not. `what` they are. */
export function utf8Text(bytes: Uint8Array, code: Refusal, what = 'the file'): string {
  if (isUtf8(bytes)) return asBuffer(bytes).toString('utf8');
  const [first, second] = bytes;
  const isUtf16 = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);
  const found = isUtf16 ? ' but UTF-16' : `: see the byte at offset ${offsetOfSpoiled(bytes)}`;
  throw new IdentityError(code, `${what} is not UTF-8${found}; save it as UTF-8`);
}

/** Halves the distance: what begins well can be decoded up to the spoiled character. */
function offsetOfSpoiled(bytes: Uint8Array): number {
  let [good, bad] = [0, bytes.length + 1];
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (beginsWell(bytes.subarray(0, middle))) good = middle;
    else bad = middle;
  }
  // Back to where the character that is not whole begins.
  while (!isUtf8(bytes.subarray(0, good))) good -= 1;
  return good;
}

function beginsWell(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}
