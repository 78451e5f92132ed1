/** Reads certificates into their parts (RFC 5280 §4.1) and verifies none of them: path.ts, svid.ts and lint.ts do. */
import type { KeyObject } from 'node:crypto';
import { constructed, DerReader, TAG } from '../der/read.ts';
import type { TimeForm } from '../der/time.ts';
import { ensureDer } from '../der/walk.ts';
import { equal } from '../ground/bytes.ts';
import { ensure, type Refusal } from '../ground/errors.ts';
import { importCertifiedKey } from './key-strength.ts';

export interface Extension {
  readonly critical: boolean;
  /** What the OCTET STRING holds. */
  readonly value: Uint8Array;
}

/** The to-be-signed part. All bytes are views of what was parsed. */
export interface TbsCertificate {
  readonly tbs: Uint8Array;
  /** The content of the INTEGER: big-endian two's complement. */
  readonly serial: Uint8Array;
  /** The whole AlgorithmIdentifier. */
  readonly signatureAlgorithm: Uint8Array;
  /** A whole DER Name; so is `subject`. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly spki: Uint8Array;
  /** By dotted OID. */
  readonly extensions: ReadonlyMap<string, Extension>;
}

export interface Certificate extends TbsCertificate {
  readonly der: Uint8Array;
  readonly signature: Uint8Array;
}

/** A larger certificate is refused before any work. 200 names fit. */
const MAX_BYTES = 64 * 1024;
const VERSION_3 = 2;

/** Throws certificate_parse. */
export const parseCertificate = (der: Uint8Array): Certificate => parse(der, 'rfc5280');

/** As `parseCertificate`, with the times that manufacturers of TPMs write. Throws certificate_parse. */
export const parseManufacturerCertificate = (der: Uint8Array): Certificate => parse(der, 'any-year');

function parse(der: Uint8Array, form: TimeForm): Certificate {
  const code = 'certificate_parse';
  ensure(der.length <= MAX_BYTES, code, `certificate is ${der.length} bytes, at most ${MAX_BYTES}`);
  const outer = new DerReader(der, code);
  const body = outer.sequence('certificate');
  const tbs = parseTbs(body.element(TAG.sequence, 'to-be-signed certificate'), code, form);
  const algorithm = body.element(TAG.sequence, 'signature algorithm');
  const signature = body.bitBytes('signature');
  body.done('certificate');
  outer.done('certificate');
  // §4.1.1.2. The outer field is not signed, so it must not decide how the signature is checked.
  ensure(equal(algorithm, tbs.signatureAlgorithm), code, 'the two signature algorithms differ');
  return { ...tbs, der, signature };
}

/** Reads the to-be-signed part (§4.1.2). Throws `code`. */
export function parseTbs(tbs: Uint8Array, code: Refusal, form: TimeForm = 'rfc5280'): TbsCertificate {
  const outer = new DerReader(tbs, code);
  const body = outer.sequence('to-be-signed certificate');
  ensureVersion3(body, code);
  const serial = body.integer('serial');
  const signatureAlgorithm = walked(body, 'signature algorithm', code);
  const issuer = walked(body, 'issuer', code);
  const validity = body.sequence('validity');
  const notBefore = validity.time('notBefore', form);
  const notAfter = validity.time('notAfter', form);
  validity.done('validity');
  const subject = walked(body, 'subject', code);
  const spki = walked(body, 'public key', code);
  // Unique identifiers, [1] and [2], would be here. §4.1.2.8 forbids them; they are refused, because [3] is expected.
  const extensions = parseExtensions(body.enter(constructed(3), 'extensions'), code);
  body.done('to-be-signed certificate');
  outer.done('to-be-signed certificate');
  return { tbs, serial, signatureAlgorithm, issuer, subject, notBefore, notAfter, spki, extensions };
}

/**
 * §4.2: at least one, none twice; by dotted OID. `reader` is before the SEQUENCE and is read to its end. Throws `code`.
 */
export function parseExtensions(reader: DerReader, code: Refusal): ReadonlyMap<string, Extension> {
  const list = reader.sequence('extensions');
  reader.done('extensions');
  const extensions = new Map<string, Extension>();
  while (list.tag !== undefined) {
    const item = list.sequence('extension');
    const oid = item.oid('extension type');
    const critical = item.flag('extension criticality');
    const value = item.octets('extension value');
    item.done('extension');
    ensure(!extensions.has(oid), code, `extension ${oid} is there twice`);
    extensions.set(oid, { critical, value });
  }
  ensure(extensions.size > 0, code, 'the list of extensions is empty');
  return extensions;
}

const keys = new WeakMap<TbsCertificate, KeyObject>();

/** Imported once for each certificate. Throws certificate_parse for a key that is weak or malformed. */
export function publicKeyOf(certificate: TbsCertificate): KeyObject {
  const known = keys.get(certificate);
  if (known !== undefined) return known;
  const key = importCertifiedKey(certificate.spki, 'certificate_parse');
  keys.set(certificate, key);
  return key;
}

function ensureVersion3(body: DerReader, code: Refusal): void {
  const field = body.optional(constructed(0), 'version');
  ensure(field !== undefined, code, 'certificate is of version 1');
  const version = field.smallInteger('version');
  field.done('version');
  ensure(version === VERSION_3, code, `certificate is of version ${version + 1}, not 3`);
}

function walked(body: DerReader, what: string, code: Refusal): Uint8Array {
  const element = body.element(TAG.sequence, what);
  ensureDer(element, code, what);
  return element;
}
