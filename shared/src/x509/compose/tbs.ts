/**
 * Writes certificates. This is the hot path of issuing: lengths are counted first, then one allocation holds all bytes.
 */
import { constructed, TAG } from '../../der/read.ts';
import { timeSize, writeTimeAt } from '../../der/time.ts';
import {
  bitBytes,
  headerSize,
  oid,
  sequence,
  set,
  unsignedInteger,
  utf8String,
  writeHeaderAt,
} from '../../der/write.ts';
import type { KeyAlgorithm } from '../../keys/key.ts';
import { IDENTIFIER } from '../algorithm.ts';

export interface CertificateFields {
  /** Big-endian magnitude. RFC 5280 §4.1.2.2: positive, and at most 20 octets as an INTEGER. */
  readonly serial: Uint8Array;
  /** A whole DER Name; so is `subject`. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly spki: Uint8Array;
  /** Whole Extensions, in order. */
  readonly extensions: readonly Uint8Array[];
}

const COMMON_NAME = oid('2.5.4.3');

/** A DER Name of one common name. */
export function commonName(text: string): Uint8Array {
  return sequence(set(sequence(COMMON_NAME, utf8String(text))));
}

/** `[0] EXPLICIT INTEGER 2`, version 3. */
const VERSION_3 = Uint8Array.of(0xa0, 3, TAG.integer, 1, 2);

/**
 * RFC 5280 §4.1.2, to be signed by a key of this algorithm. Does not check the fields: lint.ts reads the result again.
 */
export function writeTbs(fields: CertificateFields, algorithm: KeyAlgorithm): Uint8Array {
  const identifier = IDENTIFIER[algorithm];
  const { issuer, subject, notBefore, notAfter, spki, extensions } = fields;
  const serial = unsignedInteger(fields.serial);
  const times = timeSize(notBefore) + timeSize(notAfter);
  const listed = extensions.reduce((sum, extension) => sum + extension.length, 0);
  const list = headerSize(listed) + listed;
  const fixed =
    VERSION_3.length + serial.length + identifier.length + issuer.length + subject.length + spki.length;
  const size = fixed + headerSize(times) + times + headerSize(list) + list;

  const out = Buffer.allocUnsafe(headerSize(size) + size);
  let at = writeHeaderAt(out, 0, TAG.sequence, size);
  at = copyAt(out, at, VERSION_3, serial, identifier, issuer);
  at = writeHeaderAt(out, at, TAG.sequence, times);
  at = writeTimeAt(out, writeTimeAt(out, at, notBefore), notAfter);
  at = copyAt(out, at, subject, spki);
  at = writeHeaderAt(out, at, constructed(3), list);
  at = writeHeaderAt(out, at, TAG.sequence, listed);
  copyAt(out, at, ...extensions);
  return out;
}

/** The whole certificate, in DER. `signature` is over `tbs`, by a key of the algorithm that `tbs` was written for. */
export function assembleCertificate(
  tbs: Uint8Array,
  algorithm: KeyAlgorithm,
  signature: Uint8Array,
): Uint8Array {
  return sequence(tbs, IDENTIFIER[algorithm], bitBytes(signature));
}

function copyAt(out: Uint8Array, start: number, ...parts: readonly Uint8Array[]): number {
  let at = start;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return at;
}
