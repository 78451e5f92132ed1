/** Reads revocation lists into their parts (RFC 5280 §5.1) and verifies none of them: verify/crl.ts does. */
import { constructed, DerReader, TAG } from '../der/read.ts';
import { ensureDer } from '../der/walk.ts';
import { equal, hex } from '../ground/bytes.ts';
import { ensure, type Refusal } from '../ground/errors.ts';
import { type Extension, parseExtensions } from './certificate.ts';
import { OID } from './extensions.ts';

/** All bytes are views of what was parsed. */
export interface Crl {
  readonly der: Uint8Array;
  readonly tbs: Uint8Array;
  /** The whole AlgorithmIdentifier. */
  readonly signatureAlgorithm: Uint8Array;
  /** A whole DER Name. */
  readonly issuer: Uint8Array;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  readonly number: bigint;
  /** By dotted OID. */
  readonly extensions: ReadonlyMap<string, Extension>;
  /** The content of revokedCertificates. */
  readonly entries: Uint8Array;
  readonly signature: Uint8Array;
}

/** One revoked certificate. */
export interface ReadCrlEntry {
  /** Lower-case hex of the INTEGER's content. */
  readonly serial: string;
  readonly revokedAt: Date;
  /** The number of §5.3.1; undefined if the list does not say. */
  readonly reason: number | undefined;
}

/** A longer list is refused before any work. An entry has about 50 bytes. */
export const MAX_CRL_BYTES = 8 * 1024 * 1024;
/** §5.2.3: at most 20 octets. */
const MAX_NUMBER_OCTETS = 20;
const VERSION_2 = 1;
const ENUMERATED = 0x0a;
const CODE = 'crl';

/** Does not look into the entries: `crlEntries` does, and a list of 100,000 takes it a second. Throws crl. */
export function parseCrl(der: Uint8Array): Crl {
  ensure(der.length <= MAX_CRL_BYTES, CODE, `the CRL has ${der.length} bytes, at most ${MAX_CRL_BYTES}`);
  const outer = new DerReader(der, CODE);
  const body = outer.sequence('CRL');
  const tbs = parseCrlTbs(body.element(TAG.sequence, 'to-be-signed CRL'), CODE);
  const algorithm = body.element(TAG.sequence, 'signature algorithm');
  const signature = body.bitBytes('signature');
  body.done('CRL');
  outer.done('CRL');
  // §5.1.1.2. The outer field is not signed, so it must not decide how the signature is checked.
  ensure(equal(algorithm, tbs.signatureAlgorithm), CODE, 'the two signature algorithms differ');
  return { ...tbs, der, signature };
}

/** Reads the to-be-signed part (§5.1.2). Throws `code`. */
export function parseCrlTbs(tbs: Uint8Array, code: Refusal): Omit<Crl, 'der' | 'signature'> {
  const body = new DerReader(tbs, code).sequence('to-be-signed CRL');
  // §5.1.2.1: absent in version 1, which has no extensions and so no number.
  const { tag } = body;
  ensure(tag === TAG.integer, code, 'the CRL is of version 1');
  const version = body.smallInteger('version');
  ensure(version === VERSION_2, code, `the CRL is of version ${version + 1}, not 2`);
  const signatureAlgorithm = walked(body, 'signature algorithm', code);
  const issuer = walked(body, 'issuer', code);
  const thisUpdate = body.time('thisUpdate');
  const nextUpdate = body.time('nextUpdate');
  const entries = readEntries(body, code);
  const extensions = parseExtensions(body.enter(constructed(0), 'CRL extensions'), code);
  body.done('to-be-signed CRL');
  ensure(thisUpdate < nextUpdate, code, 'nextUpdate is not after thisUpdate');
  // The distribution points of a partitioned list and the base of a delta are critical (§5.2.4, §5.2.5).
  for (const [oid, { critical }] of extensions)
    ensure(!critical, code, `critical extension ${oid} is not processed`);
  const number = readNumber(extensions, code);
  return { tbs, signatureAlgorithm, issuer, thisUpdate, nextUpdate, number, extensions, entries };
}

/** §5.1.2.6: absent if nothing is revoked. */
function readEntries(body: DerReader, code: Refusal): Uint8Array {
  if (body.tag !== TAG.sequence) return new Uint8Array();
  const entries = body.content(TAG.sequence, 'revoked certificates');
  ensure(entries.length > 0, code, 'the list of revoked certificates is empty');
  return entries;
}

/** §5.2.3. */
function readNumber(extensions: Crl['extensions'], code: Refusal): bigint {
  const found = extensions.get(OID.crlNumber);
  ensure(found !== undefined, code, 'the CRL has no number');
  const reader = new DerReader(found.value, code);
  const octets = reader.integer('CRL number');
  reader.done('CRL number');
  ensure(octets.length <= MAX_NUMBER_OCTETS, code, `the CRL number has ${octets.length} octets, at most 20`);
  ensure((octets[0] ?? 0) < 0x80, code, 'the CRL number is negative');
  return BigInt(`0x${hex(octets)}`);
}

/** How many entries there are, by their outer lengths only. Throws `code`. */
export function countCrlEntries({ entries }: Pick<Crl, 'entries'>, code: Refusal): number {
  const list = new DerReader(entries, code);
  let count = 0;
  for (; list.tag !== undefined; count += 1) list.content(TAG.sequence, 'entry');
  return count;
}

/** Reads one entry after another, so that a long list can be read in slices. Throws crl. */
export function* crlEntries({ entries }: Pick<Crl, 'entries'>): Generator<ReadCrlEntry> {
  const list = new DerReader(entries, CODE);
  while (list.tag !== undefined) {
    const entry = list.sequence('entry');
    const serial = hex(entry.integer('serial'));
    const revokedAt = entry.time('revocation date');
    const reason = entry.tag === undefined ? undefined : readReason(entry);
    yield { serial, revokedAt, reason };
  }
}

/** §5.3: an entry with a critical extension that is not processed says something that we would miss. */
function readReason(entry: DerReader): number | undefined {
  const extensions = parseExtensions(entry, CODE);
  for (const [oid, { critical }] of extensions)
    ensure(!critical, CODE, `critical extension ${oid} of an entry is not processed`);
  const found = extensions.get(OID.reasonCode);
  if (found === undefined) return undefined;
  const reader = new DerReader(found.value, CODE);
  const reason = reader.smallInteger('reason', ENUMERATED);
  reader.done('reason');
  return reason;
}

function walked(body: DerReader, what: string, code: Refusal): Uint8Array {
  const element = body.element(TAG.sequence, what);
  ensureDer(element, code, what);
  return element;
}
