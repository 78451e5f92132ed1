/**
 * Verifies a certificate revocation list against the authority that issued it (RFC 5280 §6.3.3, for a whole list of
 * direct entries). Does not decide whether the authority is trusted: path.ts does.
 */
import { equal } from '../../ground/bytes.ts';
import { ensure } from '../../ground/errors.ts';
import { isSignedBy } from '../algorithm.ts';
import { type Certificate, publicKeyOf } from '../certificate.ts';
import { type Crl, parseCrl } from '../crl.ts';
import {
  KEY_USAGE,
  readAuthorityKeyIdentifier,
  readKeyUsage,
  readSubjectKeyIdentifier,
} from '../extensions.ts';
import { isSameName } from '../names.ts';

export interface CrlRequest {
  readonly der: Uint8Array;
  /** The certificate of the authority, which the caller trusts. */
  readonly issuer: Certificate;
  readonly now: Date;
  /** The number of the list of this issuer that is held already: an older list is refused. */
  readonly held?: bigint | undefined;
}

/** Returns the list, of which the entries are not read yet. Throws crl, certificate_parse. */
export function verifyCrl({ der, issuer, now, held }: CrlRequest): Crl {
  const crl = parseCrl(der);
  ensure(isSameName(crl.issuer, issuer.subject, 'crl'), 'crl', 'the CRL is of another issuer');
  const expected = readSubjectKeyIdentifier(issuer, 'crl');
  const keyId = readAuthorityKeyIdentifier(crl, 'crl')?.keyId;
  const isSameKey = expected !== undefined && keyId !== undefined && equal(keyId, expected);
  ensure(isSameKey, 'crl', 'the authority key identifier of the CRL is not that of its issuer');
  // §4.2.1.3: the bit must be set where there is the extension.
  const usage = readKeyUsage(issuer, 'crl');
  ensure(usage === undefined || usage.has(KEY_USAGE.crlSign), 'crl', 'its issuer may not sign CRLs');
  const { signatureAlgorithm: algorithm, tbs: data, signature } = crl;
  const isSigned = isSignedBy({ algorithm, data, signature }, publicKeyOf(issuer));
  ensure(isSigned, 'crl', 'the signature of the CRL does not verify');
  ensure(crl.thisUpdate <= now, 'crl', `the CRL is of ${crl.thisUpdate.toISOString()}, which is yet to come`);
  ensure(now < crl.nextUpdate, 'crl', `the CRL ended at ${crl.nextUpdate.toISOString()}`);
  const isOlder = held !== undefined && crl.number < held;
  ensure(!isOlder, 'crl', `the CRL has number ${crl.number}, older than ${held}, which is held`);
  return crl;
}
