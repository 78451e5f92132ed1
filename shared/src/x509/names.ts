/** Names in certificates: distinguished names (RFC 5280 §4.1.2.4) and general names (§4.2.1.6). */

import { constructed, DerReader, primitive, TAG } from '../der/read.ts';
import { ensureDer } from '../der/walk.ts';
import { asBuffer, equal, hex } from '../ground/bytes.ts';
import { ensure, type Refusal } from '../ground/errors.ts';

/** The choices of GeneralName, by their tag numbers. */
export const NAME = { other: 0, email: 1, dns: 2, directory: 4, uri: 6, ip: 7 } as const;

export interface GeneralName {
  /** The number of the choice. */
  readonly kind: number;
  /** The content; for a directory name the whole DER Name. */
  readonly value: Uint8Array;
}

const EMAIL_ADDRESS = '1.2.840.113549.1.9.1';
/** The empty Name: `SEQUENCE {}`. */
export const EMPTY_NAME: Uint8Array = Uint8Array.of(TAG.sequence, 0);

/** Whether a Name in DER has no elements. */
export const isEmptyName = (name: Uint8Array): boolean => equal(name, EMPTY_NAME);

/** Reads GeneralNames with their SEQUENCE; at least one (§4.2.1.6). Throws `code`. */
export function readGeneralNames(bytes: Uint8Array, code: Refusal, what: string): readonly GeneralName[] {
  const outer = new DerReader(bytes, code);
  const list = outer.sequence(what);
  outer.done(what);
  const names: GeneralName[] = [];
  while (list.tag !== undefined) names.push(readGeneralName(list, code, what));
  ensure(names.length > 0, code, `${what} has no names`);
  return names;
}

/** Constructed choices: otherName, x400Address, directoryName, ediPartyName. */
const CONSTRUCTED_KINDS: readonly number[] = [0, 3, 4, 5];
const TEXT_KINDS: readonly number[] = [NAME.email, NAME.dns, NAME.uri];
const LAST_KIND = 8;
const ASCII = /^[\x21-\x7e]*$/;

/** Reads one GeneralName. Throws `code` for a kind that does not exist, and for text that is not ASCII. */
export function readGeneralName(reader: DerReader, code: Refusal, what: string): GeneralName {
  const kind = (reader.tag ?? 0) & 0x1f;
  ensure(kind <= LAST_KIND, code, `${what} has a name of unknown kind ${kind}`);
  const tag = CONSTRUCTED_KINDS.includes(kind) ? constructed(kind) : primitive(kind);
  if (kind === NAME.directory) {
    const name = reader.content(tag, what);
    ensureDer(name, code, what);
    return { kind, value: name };
  }
  const value = reader.content(tag, what);
  // IA5String (§4.2.1.6) of visible characters: other software may read a name with a NUL or a newline differently.
  if (TEXT_KINDS.includes(kind))
    ensure(ASCII.test(text(value)), code, `${what} has a name that is not plain ASCII`);
  return { kind, value };
}

/** The bytes as Latin-1: one character for each byte. */
export const text = (value: Uint8Array): string => asBuffer(value).toString('latin1');

/** Each relative distinguished name as one string, so that names compare by element. */
export type DistinguishedName = readonly string[];

/**
 * §7.1: types are equal, and values are equal without regard to case, runs of spaces, or whether they are Printable or
 * UTF8 strings. Case is folded for ASCII only: no issuer relies on the full preparation of LDAP (RFC 4518).
 */
export function readName(name: Uint8Array, code: Refusal): DistinguishedName {
  const list = new DerReader(name, code).sequence('name');
  const parts: string[] = [];
  while (list.tag !== undefined) parts.push(readRelativeName(list.enter(TAG.set, 'relative name'), code));
  return parts;
}

/** How many relative distinguished names there are, to bound the cost of comparisons. Throws `code`. */
export function countRelativeNames(name: Uint8Array, code: Refusal): number {
  const list = new DerReader(name, code).sequence('name');
  let count = 0;
  for (; list.tag !== undefined; count += 1) list.content(TAG.set, 'relative name');
  return count;
}

/** Whether two Names in DER are the same by §7.1. Throws `code` if one cannot be read. */
export function isSameName(a: Uint8Array, b: Uint8Array, code: Refusal): boolean {
  return equal(a, b) || isWithin(readName(a, code), readName(b, code), true);
}

/** Whether `name` begins with all of `base`; with `whole`, whether they are equal. */
export function isWithin(name: DistinguishedName, base: DistinguishedName, whole = false): boolean {
  if (whole && name.length !== base.length) return false;
  return base.every((part, i) => part === name[i]);
}

/**
 * The e-mail addresses in the subject, as old certificates have them; §4.2.1.10 constrains them, too. Throws `code`.
 */
export function emailsIn(name: Uint8Array, code: Refusal): readonly Uint8Array[] {
  const list = new DerReader(name, code).sequence('name');
  const found: Uint8Array[] = [];
  while (list.tag !== undefined) {
    const relative = list.enter(TAG.set, 'relative name');
    while (relative.tag !== undefined) {
      const pair = relative.sequence('name attribute');
      if (pair.oid('name attribute type') === EMAIL_ADDRESS)
        found.push(pair.content(TAG.ia5String, 'e-mail address'));
    }
  }
  return found;
}

function readRelativeName(relative: DerReader, code: Refusal): string {
  const pairs: string[] = [];
  while (relative.tag !== undefined) {
    const pair = relative.sequence('name attribute');
    const type = pair.oid('name attribute type');
    const { tag = 0 } = pair;
    pairs.push(`${type}=${foldedValue(tag, pair.content(tag, 'name attribute value'))}`);
    pair.done('name attribute');
  }
  ensure(pairs.length > 0, code, 'relative name is empty');
  return pairs.sort().join('+');
}

/** In hex, so that no value contains a separator. */
function foldedValue(tag: number, value: Uint8Array): string {
  if (tag !== TAG.utf8String && tag !== TAG.printableString) return `${tag}:${hex(value)}`;
  const folded = text(value)
    .replace(/ +/g, ' ')
    .replace(/^ | $/g, '')
    .replace(/[A-Z]/g, (c) => c.toLowerCase());
  return hex(Buffer.from(folded, 'latin1'));
}
