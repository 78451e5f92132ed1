/** Checks each certificate of a path by itself (RFC 5280 §4.1.2, §4.2.1). path.ts checks how they join. */
import { ensure } from '../../ground/errors.ts';
import type { Certificate } from '../certificate.ts';
import {
  EKU,
  KEY_USAGE,
  OID,
  readAuthorityKeyIdentifier,
  readBasicConstraints,
  readExtKeyUsage,
  readKeyUsage,
  readSubjectKeyIdentifier,
} from '../extensions.ts';
import { isEmptyName, isSameName } from '../names.ts';
import { ensureWellFormed, namesOf } from '../verify/name-constraints.ts';

/**
 * Extensions that are processed, and policies, which are ignored because no caller requires one. AKI, SKI and AIA are
 * not listed: §4.2.1.1, §4.2.1.2 and §4.2.2.1 say that they are never critical.
 */
const MAY_BE_CRITICAL: ReadonlySet<string> = new Set([
  OID.keyUsage,
  OID.subjectAltName,
  OID.basicConstraints,
  OID.nameConstraints,
  OID.certificatePolicies,
  OID.policyMappings,
  OID.extKeyUsage,
  OID.inhibitAnyPolicy,
]);
const MAX_SERIAL_OCTETS = 20;

/** What a caller requires of the certificates of a path. */
export interface PathRules {
  /** A purpose (dotted OID) that the leaf must name, and that intermediates must not rule out. */
  readonly eku?: string;
  /**
   * Certificates of manufacturers of TPMs: anchors without a subject key identifier (Nuvoton), serial numbers of any
   * sign and length, and leaves without an authority key identifier are accepted, as OpenSSL accepts them. No signature
   * depends on these three. A serial number that is not DER (a zero too many in front) is refused here and by OpenSSL.
   */
  readonly manufacturers?: boolean;
}

/** Checks the leaf of a path, of any kind: an SVID, an endorsement key, even an authority. Throws chain. */
export function ensureLeaf(leaf: Certificate, rules: PathRules): void {
  const { eku } = rules;
  ensureAny(leaf);
  ensureIssued(leaf, rules);
  const isCa = readBasicConstraints(leaf, 'chain')?.ca ?? false;
  ensure(isCa || !leaf.extensions.has(OID.nameConstraints), 'chain', 'an end entity has name constraints');
  const usage = readKeyUsage(leaf, 'chain');
  // §4.2.1.9: the bit and the flag go together.
  ensure(isCa || !usage?.has(KEY_USAGE.keyCertSign), 'chain', 'an end entity may sign certificates');
  const purposes = readExtKeyUsage(leaf, 'chain');
  ensure(eku === undefined || (purposes?.has(eku) ?? false), 'chain', `the certificate is not for ${eku}`);
}

/** Checks an anchor. RFC 5280 §6.1.1 (d) uses only its name and its key; see `PathRules`. Throws chain. */
export function ensureAnchor(anchor: Certificate, { manufacturers = false }: PathRules): void {
  ensureAuthority(anchor);
  if (!manufacturers) ensureKeyIdentifier(anchor);
}

/** A certificate that signed another one: an intermediate or an anchor. */
function ensureAuthority(authority: Certificate): void {
  ensureAny(authority);
  const constraints = readBasicConstraints(authority, 'chain');
  ensure(constraints !== undefined, 'chain', 'an issuer has no basic constraints');
  ensure(constraints.ca, 'chain', 'an issuer is not an authority');
  ensureCritical(authority, OID.basicConstraints, 'basic constraints of an authority');
  const usage = readKeyUsage(authority, 'chain');
  ensure(
    usage === undefined || usage.has(KEY_USAGE.keyCertSign),
    'chain',
    'an authority may not sign certificates',
  );
  if (authority.extensions.has(OID.nameConstraints))
    ensureCritical(authority, OID.nameConstraints, 'name constraints');
}

function ensureKeyIdentifier(authority: Certificate): void {
  const keyId = readSubjectKeyIdentifier(authority, 'chain');
  ensure(keyId !== undefined, 'chain', 'an authority has no subject key identifier');
}

/** Checks an intermediate. Throws chain. */
export function ensureIntermediate(intermediate: Certificate, rules: PathRules): void {
  const { eku } = rules;
  ensureAuthority(intermediate);
  ensureKeyIdentifier(intermediate);
  ensureIssued(intermediate, rules);
  // Stricter than RFC 5280, and as Mozilla, Go and OpenSSL do it: purposes limit the certificates below them.
  const purposes = readExtKeyUsage(intermediate, 'chain');
  const allowed = eku === undefined || purposes === undefined || purposes.has(eku) || purposes.has(EKU.any);
  ensure(allowed, 'chain', `an intermediate is not for ${eku}`);
}

function ensureAny(certificate: Certificate): void {
  // §4.1.2.4. So an authority must have a subject, too, because its subject is the issuer of what it signs.
  ensure(!isEmptyName(certificate.issuer), 'chain', 'a certificate has no issuer');
  for (const [oid, { critical }] of certificate.extensions)
    ensure(!critical || MAY_BE_CRITICAL.has(oid), 'chain', `critical extension ${oid} is not processed`);
  // §4.2.1.11. Policy constraints may require a policy, which is not processed here, so they are refused, critical or
  // not.
  ensure(!certificate.extensions.has(OID.policyConstraints), 'chain', 'policy constraints are not processed');
  if (isEmptyName(certificate.subject))
    ensureCritical(certificate, OID.subjectAltName, 'names beside an empty subject');
  ensureWellFormed(namesOf(certificate, 'chain'), 'chain');
}

/**
 * What the issuer sets: serial number and authority key identifier. Anchors are not checked for them: §6.1.1 (d) uses
 * only their name and key.
 */
function ensureIssued(certificate: Certificate, { manufacturers = false }: PathRules): void {
  if (manufacturers) return;
  const { serial } = certificate;
  // §4.1.2.2.
  ensure(
    serial.length <= MAX_SERIAL_OCTETS,
    'chain',
    `a serial number has ${serial.length} octets, at most 20`,
  );
  ensure((serial[0] ?? 0) < 0x80, 'chain', 'a serial number is negative');
  ensure(
    serial.some((byte) => byte !== 0),
    'chain',
    'a serial number is zero',
  );
  // §4.2.1.1: in every certificate that is not self-signed.
  const authority = readAuthorityKeyIdentifier(certificate, 'chain');
  ensure(authority?.keyId !== undefined, 'chain', 'a certificate has no authority key identifier');
}

/** Whether subject and issuer are one name (RFC 5280 §3.2); its own key need not have signed it. Throws chain. */
export function isSelfIssued({ subject, issuer }: Certificate): boolean {
  return isSameName(subject, issuer, 'chain');
}

function ensureCritical({ extensions }: Certificate, oid: string, what: string): void {
  ensure(extensions.get(oid)?.critical === true, 'chain', `${what} are not critical`);
}
