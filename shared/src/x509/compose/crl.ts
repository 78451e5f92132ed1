/**
 * Writes certificate revocation lists of version 2 (RFC 5280 §5). Entries are written one by one, so that a long list
 * can be made in slices; the rest is written once around them.
 */
import { constructed, TAG } from '../../der/read.ts';
import * as der from '../../der/write.ts';
import { concat, equal } from '../../ground/bytes.ts';
import { ensure } from '../../ground/errors.ts';
import type { KeyAlgorithm } from '../../keys/key.ts';
import { IDENTIFIER } from '../algorithm.ts';
import { countCrlEntries, MAX_CRL_BYTES, parseCrlTbs } from '../crl.ts';
import { authorityKeyIdentifier, OID, readAuthorityKeyIdentifier } from '../extensions.ts';

/** RFC 5280 §5.3.1, those that apply here. The list says nothing in place of `unspecified`, as it asks for. */
export const CRL_REASON = {
  unspecified: 0,
  keyCompromise: 1,
  superseded: 4,
  cessationOfOperation: 5,
  privilegeWithdrawn: 9,
} as const;
export type CrlReason = keyof typeof CRL_REASON;

export interface CrlFields {
  /** A whole DER Name: the subject of the authority that signs. */
  readonly issuer: Uint8Array;
  /** The subject key identifier of that authority. */
  readonly keyId: Uint8Array;
  /** From 0, and below 2^159: §5.2.3 allows 20 octets. */
  readonly number: bigint;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  /** Each by `writeCrlEntry`, joined; empty if nothing is revoked. */
  readonly entries: Uint8Array;
}

const ENUMERATED = 0x0a;
/** More than the signature and the algorithm take. */
const SIGNATURE_BYTES = 1024;

/** What all entries of one revocation have in common: its date and reason (§5.1.2.6), for `writeCrlEntry`. */
export function crlEntryEnd(revokedAt: Date, reason: CrlReason): Uint8Array {
  return concat(der.time(revokedAt), reasonExtensions(reason));
}

/** One element of revokedCertificates (§5.1.2.6). `serial` is a big-endian magnitude of at most 20 octets. */
export function writeCrlEntry(serial: Uint8Array, end: Uint8Array): Uint8Array {
  return der.sequence(der.unsignedInteger(serial), end);
}

/** §5.1.2, to be signed by a key of this algorithm. `assembleCertificate` puts the signature to it. */
export function writeCrlTbs(fields: CrlFields, algorithm: KeyAlgorithm): Uint8Array {
  const { issuer, keyId, number, thisUpdate, nextUpdate, entries } = fields;
  const extensions = der.sequence(authorityKeyIdentifier(keyId), crlNumber(number));
  return der.sequence(
    der.smallInteger(1),
    IDENTIFIER[algorithm],
    issuer,
    der.time(thisUpdate),
    der.time(nextUpdate),
    // §5.1.2.6: absent if there are none.
    ...(entries.length === 0 ? [] : [der.tlv(TAG.sequence, entries)]),
    der.tlv(constructed(0), extensions),
  );
}

/** §5.2.3. Not critical. */
function crlNumber(number: bigint): Uint8Array {
  const digits = number.toString(16);
  const magnitude = Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex');
  return der.sequence(der.oid(OID.crlNumber), der.octets(der.unsignedInteger(magnitude)));
}

function reasonExtensions(reason: CrlReason): Uint8Array {
  if (reason === 'unspecified') return concat();
  const code = der.tlv(ENUMERATED, Uint8Array.of(CRL_REASON[reason]));
  return der.sequence(der.sequence(der.oid(OID.reasonCode), der.octets(code)));
}

export interface CrlOrder extends Omit<CrlFields, 'entries'> {
  /** How many entries there must be. */
  readonly count: number;
  readonly algorithm: KeyAlgorithm;
}

/** The last check before the authority signs: reads the bytes again and compares them with the order. Throws lint. */
export function lintCrl(tbs: Uint8Array, order: CrlOrder): void {
  const found = parseCrlTbs(tbs, 'lint');
  const { issuer, keyId, number, thisUpdate, nextUpdate, count, algorithm } = order;
  ensure(equal(found.issuer, issuer), 'lint', 'the issuer of the CRL is not the name of the authority');
  const asSigned = equal(found.signatureAlgorithm, IDENTIFIER[algorithm]);
  ensure(asSigned, 'lint', 'the signature algorithm of the CRL is not that of the authority’s key');
  ensure(found.number === number, 'lint', `the CRL has number ${found.number}, not ${number}`);
  const isInTime = isSecond(found.thisUpdate, thisUpdate) && isSecond(found.nextUpdate, nextUpdate);
  ensure(isInTime, 'lint', 'the times of the CRL are not those that were ordered');
  const named = readAuthorityKeyIdentifier(found, 'lint')?.keyId;
  const isOwn = named !== undefined && equal(named, keyId);
  ensure(isOwn, 'lint', 'the authority key identifier of the CRL is not the authority’s');
  const listed = countCrlEntries(found, 'lint');
  ensure(listed === count, 'lint', `the CRL has ${listed} entries, not ${count}`);
  ensure(tbs.length <= MAX_CRL_BYTES - SIGNATURE_BYTES, 'lint', `the CRL has ${count} entries: too many`);
}

/** Times have whole seconds. */
const isSecond = (found: Date, ordered: Date): boolean =>
  found.getTime() === Math.floor(ordered.getTime() / 1000) * 1000;
