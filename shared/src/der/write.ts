/**
 * Writes DER. The functions have the names of the ASN.1 types, so that code looks like the definition of a structure.
 */
import { utf8 } from '../ground/bytes.ts';
import { oidContent } from './oid.ts';
import { constructed, primitive, TAG } from './read.ts';
import { timeSize, writeTimeAt } from './time.ts';

/** Tag, length and content, in one allocation. */
export function tlv(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const length = content.reduce((sum, part) => sum + part.length, 0);
  const out = Buffer.allocUnsafe(headerSize(length) + length);
  let at = writeHeaderAt(out, 0, tag, length);
  for (const part of content) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** SEQUENCE; each item is a whole TLV. */
export const sequence = (...items: readonly Uint8Array[]): Uint8Array => tlv(TAG.sequence, ...items);
/** SET; each item is a whole TLV, in the order that DER requires (X.690 §10.3, §11.6). */
export const set = (...items: readonly Uint8Array[]): Uint8Array => tlv(TAG.set, ...items);
/** OCTET STRING of all parts, joined. */
export const octets = (...content: readonly Uint8Array[]): Uint8Array => tlv(TAG.octetString, ...content);
/** OBJECT IDENTIFIER from dotted text. */
export const oid = (dotted: string): Uint8Array => tlv(TAG.oid, oidContent(dotted));
/** BOOLEAN; DER writes true as 0xff (X.690 §11.1). */
export const boolean = (value: boolean): Uint8Array => Uint8Array.of(TAG.boolean, 1, value ? 0xff : 0);
/** UTF8String. */
export const utf8String = (text: string): Uint8Array => tlv(TAG.utf8String, utf8(text));
/** `[n] EXPLICIT`, or `[n] IMPLICIT` over a SEQUENCE or SET of these items. */
export const explicit = (n: number, ...items: readonly Uint8Array[]): Uint8Array =>
  tlv(constructed(n), ...items);
/** `[n] IMPLICIT` over a primitive type: replaces the tag, keeps the content. */
export const implicit = (n: number, content: Uint8Array): Uint8Array => tlv(primitive(n), content);

const NO_UNUSED_BITS = Uint8Array.of(0);
/** A BIT STRING of whole bytes. */
export const bitBytes = (content: Uint8Array): Uint8Array => tlv(TAG.bitString, NO_UNUSED_BITS, content);

/** Named bits, bit 0 first; X.690 §11.2.2: trailing zero bits are left out. */
export function namedBits(...bits: readonly number[]): Uint8Array {
  const highest = Math.max(...bits);
  const bytes = new Uint8Array((highest >> 3) + 1);
  for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return tlv(TAG.bitString, Uint8Array.of(7 - (highest & 7)), bytes);
}

/** A non-negative INTEGER from big-endian bytes, which may have leading zeros. */
export function unsignedInteger(magnitude: Uint8Array): Uint8Array {
  const first = magnitude.findIndex((byte) => byte !== 0);
  const minimal = first === -1 ? Uint8Array.of(0) : magnitude.subarray(first);
  const padded = (minimal[0] ?? 0) >= 0x80;
  return padded ? tlv(TAG.integer, Uint8Array.of(0), minimal) : tlv(TAG.integer, minimal);
}

/** INTEGER from 0 to 2^32 - 1. Throws RangeError beyond. */
export function smallInteger(value: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return unsignedInteger(bytes);
}

/** UTCTime up to 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5), to the second. */
export function time(value: Date): Uint8Array {
  const out = new Uint8Array(timeSize(value));
  writeTimeAt(out, 0, value);
  return out;
}

/** The size in bytes of the tag and the length field of an element with `length` bytes of content. */
export function headerSize(length: number): number {
  if (length < 0x80) return 2;
  return length < 0x100 ? 3 : length < 0x10000 ? 4 : length < 0x1000000 ? 5 : 6;
}

/** Writes tag and length at `at`; returns the offset of the content. */
export function writeHeaderAt(out: Uint8Array, at: number, tag: number, length: number): number {
  const size = headerSize(length);
  out[at] = tag;
  if (size === 2) {
    out[at + 1] = length;
    return at + 2;
  }
  out[at + 1] = 0x80 | (size - 2);
  for (let i = 0; i < size - 2; i += 1) out[at + 2 + i] = Math.floor(length / 256 ** (size - 3 - i)) & 0xff;
  return at + size;
}
