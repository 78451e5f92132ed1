/**
 * The last check before the authority signs. Parses the to-be-signed bytes, independently of the code that wrote them,
 * and compares them with the profile (X509-SVID.md §2 to §4, RFC 5280 §4) and with the order.
 */
import { equal } from '../../ground/bytes.ts';
import { ensure, IdentityError } from '../../ground/errors.ts';
import { algorithmOf } from '../../keys/key.ts';
import type { Attested } from '../../spiffe/attested.ts';
import type { SpiffeId, TrustDomain } from '../../spiffe/id.ts';
import { trustDomainId } from '../../spiffe/id.ts';
import { isReserved, roleNamedBy } from '../../spiffe/reserved.ts';
import { IDENTIFIER } from '../algorithm.ts';
import { readAttested } from '../attested.ts';
import { type Certificate, parseTbs, type TbsCertificate } from '../certificate.ts';
import {
  EKU,
  KEY_USAGE,
  OID,
  ROLE_MARK,
  readAuthorityKeyIdentifier,
  readBasicConstraints,
  readCrlDistributionPoints,
  readExtKeyUsage,
  readKeyUsage,
  readSubjectAltName,
  readSubjectKeyIdentifier,
} from '../extensions.ts';
import { type GeneralName, isEmptyName, NAME, text } from '../names.ts';
import {
  ensurePermitted,
  ensureWellFormed,
  namesOf,
  readNameConstraints,
} from '../verify/name-constraints.ts';

export interface SvidOrder {
  /** The authority that will sign. */
  readonly issuer: Certificate;
  readonly id: SpiffeId;
  /** In this order; none by default. */
  readonly dnsNames?: readonly string[];
  /** The SubjectPublicKeyInfo of the proven key. */
  readonly spki: Uint8Array;
  /** The only CRL distribution point; none by default. */
  readonly crlUrl?: string | undefined;
  /** What it says of the workload; nothing by default. */
  readonly attested?: Attested | undefined;
}

export interface AuthorityOrder {
  /** The authority that will sign; undefined if it signs itself. */
  readonly issuer: Certificate | undefined;
  readonly trustDomain: TrustDomain;
  readonly spki: Uint8Array;
  /** The path length that it must have. */
  readonly pathLength: number | undefined;
  /** As in `SvidOrder`; none for a root. */
  readonly crlUrl?: string | undefined;
}

const MAX_SERIAL_OCTETS = 20;
/**
 * CA/Browser Forum Baseline Requirements §7.1: 64 bits of randomness. Ours have 128 bits, of which few are leading
 * zeros.
 */
const MIN_SERIAL_BITS = 64;

const LEAF_EXTENSIONS: readonly string[] = [
  OID.subjectKeyIdentifier,
  OID.keyUsage,
  OID.subjectAltName,
  OID.basicConstraints,
  OID.authorityKeyIdentifier,
  OID.extKeyUsage,
  OID.crlDistributionPoints,
  OID.subjectDirectoryAttributes,
];
const AUTHORITY_EXTENSIONS: readonly string[] = [
  OID.subjectKeyIdentifier,
  OID.keyUsage,
  OID.subjectAltName,
  OID.basicConstraints,
  OID.nameConstraints,
  OID.authorityKeyIdentifier,
  OID.crlDistributionPoints,
];

/** A workload's certificate. Throws lint. */
export function lintSvid(tbs: Uint8Array, order: SvidOrder): void {
  const found = parseTbs(tbs, 'lint');
  lintBody(found, order.spki, order.issuer.spki);
  lintIssuer(found, order.issuer);
  lintExtensions(found, LEAF_EXTENSIONS);
  lintCrlUrl(found, order.crlUrl);
  lintSvidNames(found, order);
  lintAttested(found, order.attested);

  lintCritical(found, OID.basicConstraints);
  ensure(
    readBasicConstraints(found, 'lint')?.ca === false,
    'lint',
    'basic constraints are not those of a leaf',
  );
  lintKeyUsage(found, [KEY_USAGE.digitalSignature]);
  const purposes = readExtKeyUsage(found, 'lint');
  ensure(
    purposes?.has(EKU.serverAuth) === true,
    'lint',
    'extended key usage is without server authentication',
  );
  ensure(purposes.has(EKU.clientAuth), 'lint', 'extended key usage is without client authentication');
  lintMark(purposes, order.id);
}

/** Allows TLS only. A name of the CA or of an operator must have the mark of its role, and no other name may. */
function lintMark(purposes: ReadonlySet<string>, id: SpiffeId): void {
  const role = roleNamedBy(id);
  ensure(role !== undefined || !isReserved(id), 'lint', `${id} is reserved for the trust domain itself`);
  const marked = role === undefined || purposes.has(ROLE_MARK[role]);
  ensure(marked, 'lint', `the certificate of ${id} lacks the mark of its role (${role})`);
  const expected = role === undefined ? 2 : 3;
  ensure(purposes.size === expected, 'lint', 'extended key usage allows more than TLS');
}

/** The certificate of a root or an issuing intermediate. Throws lint. */
export function lintAuthority(tbs: Uint8Array, order: AuthorityOrder): void {
  const { issuer, trustDomain, pathLength } = order;
  const found = parseTbs(tbs, 'lint');
  lintBody(found, order.spki, issuer?.spki ?? order.spki);
  if (issuer === undefined)
    ensure(equal(found.issuer, found.subject), 'lint', 'a root is issued by another name');
  else lintIssuer(found, issuer);
  lintExtensions(found, AUTHORITY_EXTENSIONS);
  lintCrlUrl(found, order.crlUrl);

  // RFC 5280 §4.1.2.6. Paths are built by names, so two authorities must not have one name.
  ensure(!isEmptyName(found.subject), 'lint', 'an authority has no subject');
  ensure(
    issuer === undefined || !equal(found.subject, issuer.subject),
    'lint',
    'an intermediate has its issuer’s name',
  );
  lintCritical(found, OID.basicConstraints);
  const constraints = readBasicConstraints(found, 'lint');
  ensure(constraints?.ca === true, 'lint', 'basic constraints are not those of an authority');
  ensure(
    constraints.pathLength === pathLength,
    'lint',
    `path length is ${constraints.pathLength}, not ${pathLength}`,
  );
  lintKeyUsage(found, [KEY_USAGE.keyCertSign, KEY_USAGE.crlSign]);
  ensure(readSubjectKeyIdentifier(found, 'lint') !== undefined, 'lint', 'an authority has no key identifier');
  // X509-SVID.md §3.2: an authority's own ID, if it has one, has no path.
  const names = readSubjectAltName(found, 'lint') ?? [];
  for (const name of names)
    ensure(isUri(name, trustDomainId(trustDomain)), 'lint', 'an authority has another name');
  if (found.extensions.has(OID.nameConstraints)) lintCritical(found, OID.nameConstraints);
  readNameConstraints(found, 'lint');
}

function lintBody(found: TbsCertificate, spki: Uint8Array, signingKey: Uint8Array): void {
  const { serial, signatureAlgorithm, notBefore, notAfter } = found;
  ensure((serial[0] ?? 0x80) < 0x80, 'lint', 'serial number is negative');
  ensure(serial.length <= MAX_SERIAL_OCTETS, 'lint', `serial number has ${serial.length} octets, at most 20`);
  const bits = serial.length * 8 - (serial[0] === 0 ? 8 : 0);
  ensure(bits >= MIN_SERIAL_BITS, 'lint', `serial number has ${bits} bits, at least ${MIN_SERIAL_BITS}`);
  const algorithm = algorithmOf(signingKey);
  const asSigned = algorithm !== undefined && equal(signatureAlgorithm, IDENTIFIER[algorithm]);
  ensure(asSigned, 'lint', 'signature algorithm is not that of the authority’s key');
  ensure(notBefore < notAfter, 'lint', 'validity ends before it begins');
  ensure(equal(found.spki, spki), 'lint', 'public key is not the one that was proven');
}

function lintIssuer(found: TbsCertificate, issuer: Certificate): void {
  ensure(equal(found.issuer, issuer.subject), 'lint', 'issuer is not the name of the authority');
  ensure(found.notBefore >= issuer.notBefore, 'lint', 'validity begins before the authority’s');
  ensure(found.notAfter <= issuer.notAfter, 'lint', 'validity ends after the authority’s');
  const keyId = readAuthorityKeyIdentifier(found, 'lint')?.keyId;
  ensure(keyId !== undefined, 'lint', 'authority key identifier is missing');
  const expected = readSubjectKeyIdentifier(issuer, 'lint');
  ensure(
    expected !== undefined && equal(keyId, expected),
    'lint',
    'authority key identifier is not the authority’s',
  );
  const constraints = readNameConstraints(issuer, 'lint');
  if (constraints !== undefined) ensurePermitted(namesOf(found, 'lint'), constraints, 'lint');
}

function lintExtensions({ extensions }: TbsCertificate, known: readonly string[]): void {
  for (const oid of extensions.keys())
    ensure(known.includes(oid), 'lint', `extension ${oid} is not in the profile`);
}

/** RFC 5280 §4.2.1.13: SHOULD NOT be critical. */
function lintCrlUrl(found: TbsCertificate, url: string | undefined): void {
  const names = readCrlDistributionPoints(found, 'lint') ?? [];
  const asOrdered =
    url === undefined ? names.length === 0 : names.length === 1 && names.every((name) => isUri(name, url));
  ensure(asOrdered, 'lint', `the CRL distribution point is not ${url ?? 'left out'}`);
  const critical = found.extensions.get(OID.crlDistributionPoints)?.critical ?? false;
  ensure(!critical, 'lint', 'CRL distribution points are critical');
}

function lintSvidNames(found: TbsCertificate, { id, dnsNames = [] }: SvidOrder): void {
  const names = readSubjectAltName(found, 'lint') ?? [];
  const [uri, ...others] = names.filter(({ kind }) => kind === NAME.uri);
  ensure(uri !== undefined, 'lint', 'certificate has no URI name');
  ensure(others.length === 0, 'lint', 'certificate has more than one URI name');
  ensure(isUri(uri, id), 'lint', `URI name is not ${id}`);
  const rest = names.filter(({ kind }) => kind !== NAME.uri);
  const asOrdered =
    rest.length === dnsNames.length &&
    rest.every(({ kind, value }, i) => kind === NAME.dns && text(value) === dnsNames[i]);
  ensure(asOrdered, 'lint', 'DNS names are not those that were ordered');
  ensureWellFormed(names, 'lint');
  if (isEmptyName(found.subject)) lintCritical(found, OID.subjectAltName);
}

function lintAttested(found: TbsCertificate, ordered: Attested | undefined): void {
  const { platform, scope, attributes } = readAttested(found, 'lint');
  const expected = ordered?.attributes ?? new Map();
  const isOrdered =
    platform === ordered?.platform &&
    scope === ordered?.scope &&
    attributes.size === expected.size &&
    [...attributes].every(([name, value]) => expected.get(name) === value);
  ensure(isOrdered, 'lint', 'attested attributes are not those that were ordered');
  const critical = found.extensions.get(OID.subjectDirectoryAttributes)?.critical ?? false;
  ensure(!critical, 'lint', 'attested attributes are critical');
}

function lintKeyUsage(found: TbsCertificate, expected: readonly number[]): void {
  lintCritical(found, OID.keyUsage);
  const usage = readKeyUsage(found, 'lint') ?? new Set();
  const exact = usage.size === expected.length && expected.every((bit) => usage.has(bit));
  if (!exact) throw new IdentityError('lint', `key usage has bits ${[...usage]}, not ${expected}`);
}

function lintCritical({ extensions }: TbsCertificate, oid: string): void {
  ensure(extensions.get(oid)?.critical === true, 'lint', `extension ${oid} is missing or not critical`);
}

function isUri({ kind, value }: GeneralName, uri: string): boolean {
  return kind === NAME.uri && text(value) === uri;
}
