/** Checks that elements which are not read (names, attributes, parameters) are DER, too. */
import { ensure, IdentityError, type Refusal } from '../ground/errors.ts';
import { DerReader, TAG } from './read.ts';

const CONSTRUCTED = 0x20;
/** Universal numbers 16 and 17, SEQUENCE and SET: the constructed types (X.690 §8.9, §8.11). */
const GROUPS: readonly number[] = [0x10, 0x11];

/**
 * The universal types whose content has several encodings in BER. The content of OCTET STRINGs and of primitive context
 * tags is not looked into.
 */
const CANONICAL: Readonly<Record<number, (reader: DerReader, what: string) => void>> = {
  [TAG.boolean]: (reader, what) => reader.boolean(what),
  [TAG.integer]: (reader, what) => reader.integer(what),
  [TAG.bitString]: (reader, what) => reader.bitString(what),
  [TAG.null]: (reader, what) => reader.null(what),
  [TAG.oid]: (reader, what) => reader.oid(what),
  [TAG.utcTime]: (reader, what) => reader.time(what),
  [TAG.generalizedTime]: (reader, what) => reader.time(what),
};

/** Throws `code` unless `bytes` are exactly one DER element. */
export function ensureDer(bytes: Uint8Array, code: Refusal, what: string): void {
  const reader = new DerReader(bytes, code);
  walk(reader, code, what);
  reader.done(what);
}

function walk(reader: DerReader, code: Refusal, what: string): void {
  const { tag } = reader;
  ensure(tag !== undefined, code, `${what} is missing`);
  ensureTag(tag, code, what);
  if ((tag & CONSTRUCTED) === 0) {
    const leaf = reader.element(tag, what);
    const read = CANONICAL[tag];
    if (read !== undefined) read(new DerReader(leaf, code), what);
    return;
  }
  const inner = reader.enter(tag, what);
  while (inner.tag !== undefined) walk(inner, code, what);
}

function ensureTag(tag: number, code: Refusal, what: string): void {
  const number = tag & 0x1f;
  // Tag numbers from 31 on take more bytes. X.509 and PKCS use none.
  ensure(number !== 0x1f, code, `${what} has a tag of many bytes`);
  if (tag >= 0x40) return;
  ensure(number !== 0, code, `${what} has an end-of-contents tag`);
  // §10.2: constructed strings are BER, not DER. A SEQUENCE or SET is always constructed.
  const constructed = (tag & CONSTRUCTED) !== 0;
  if (GROUPS.includes(number) !== constructed)
    throw new IdentityError(code, `${what} has tag 0x${tag.toString(16)} in the wrong form`);
}
