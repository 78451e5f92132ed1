/** Writers and readers of certificate extensions (RFC 5280 §4.2.1). */
import { hash } from 'node:crypto';
import { constructed, DerReader, primitive, TAG } from '../der/read.ts';
import * as der from '../der/write.ts';
import { utf8 } from '../ground/bytes.ts';
import { ensure, type Refusal } from '../ground/errors.ts';
import type { Role } from '../spiffe/reserved.ts';
import type { Extension, TbsCertificate } from './certificate.ts';
import { type GeneralName, NAME, readGeneralName, readGeneralNames } from './names.ts';

export const OID = {
  subjectDirectoryAttributes: '2.5.29.9',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  crlNumber: '2.5.29.20',
  reasonCode: '2.5.29.21',
  nameConstraints: '2.5.29.30',
  crlDistributionPoints: '2.5.29.31',
  certificatePolicies: '2.5.29.32',
  policyMappings: '2.5.29.33',
  authorityKeyIdentifier: '2.5.29.35',
  policyConstraints: '2.5.29.36',
  extKeyUsage: '2.5.29.37',
  inhibitAnyPolicy: '2.5.29.54',
  authorityInfoAccess: '1.3.6.1.5.5.7.1.1',
} as const;

export const EKU = {
  any: '2.5.29.37.0',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/**
 * The extended key usage that marks a certificate as that of the CA or of an operator. No workload's certificate has
 * it. EST marks its servers in the same way (RFC 7030 §3.6.1). RFC 6402 §2.10: id-kp-cmcCA is for a certification
 * authority, id-kp-cmcRA for a registration authority, which decides about enrolment. Both are registered and short: Go
 * refuses a certificate with an arc of more than 31 bits, which a UUID under 2.25 has.
 */
export const ROLE_MARK: Readonly<Record<Role, string>> = {
  ca: '1.3.6.1.5.5.7.3.27',
  operator: '1.3.6.1.5.5.7.3.28',
};

/** §4.2.1.3: numbers of the bits. */
export const KEY_USAGE = {
  digitalSignature: 0,
  keyEncipherment: 2,
  keyAgreement: 4,
  keyCertSign: 5,
  crlSign: 6,
} as const;

export interface BasicConstraints {
  readonly ca: boolean;
  readonly pathLength: number | undefined;
}

/** The types of extensions as OBJECT IDENTIFIERs, written once. */
const WRITTEN: ReadonlyMap<string, Uint8Array> = new Map(Object.values(OID).map((id) => [id, der.oid(id)]));
const CRITICAL = der.boolean(true);

/** A whole Extension, for `CertificateFields.extensions`. */
export function extension(
  id: (typeof OID)[keyof typeof OID],
  critical: boolean,
  value: Uint8Array,
): Uint8Array {
  const type = WRITTEN.get(id) ?? der.oid(id);
  return critical ? der.sequence(type, CRITICAL, der.octets(value)) : der.sequence(type, der.octets(value));
}

/** §4.2.1.9. An end entity's is the empty sequence: `cA` defaults to false. Critical. */
export function basicConstraints(constraints?: { pathLength: number | undefined }): Uint8Array {
  if (constraints === undefined) return extension(OID.basicConstraints, true, der.sequence());
  const { pathLength } = constraints;
  const limit = pathLength === undefined ? [] : [der.smallInteger(pathLength)];
  return extension(OID.basicConstraints, true, der.sequence(der.boolean(true), ...limit));
}

/** §4.2.1.9; undefined if there is no such extension. Throws `code`. */
export function readBasicConstraints(from: Extended, code: Refusal): BasicConstraints | undefined {
  return readValue(from, OID.basicConstraints, code, (reader) => {
    const body = reader.sequence('basic constraints');
    const ca = body.flag('cA');
    const pathLength = body.tag === undefined ? undefined : body.smallInteger('path length');
    body.done('basic constraints');
    // §4.2.1.9: pathLenConstraint means nothing unless cA is asserted, and must not be there.
    ensure(
      ca || pathLength === undefined,
      code,
      'basic constraints limit the path length of a certificate that is not a CA',
    );
    return { ca, pathLength };
  });
}

/** §4.2.1.3. Critical. */
export function keyUsage(...bits: readonly number[]): Uint8Array {
  return extension(OID.keyUsage, true, der.namedBits(...bits));
}

/**
 * §4.2.1.3: the numbers of the bits that are set, at least one; undefined if there is no such extension. Throws `code`.
 */
export function readKeyUsage(from: Extended, code: Refusal): ReadonlySet<number> | undefined {
  return readValue(from, OID.keyUsage, code, (reader) => {
    const { bytes } = reader.bitString('key usage');
    const asserted = new Set<number>();
    for (let bit = 0; bit < bytes.length * 8; bit += 1)
      if (((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0) asserted.add(bit);
    ensure(asserted.size > 0, code, 'key usage allows nothing');
    return asserted;
  });
}

/** §4.2.1.12. Not critical. */
export function extKeyUsage(...purposes: readonly string[]): Uint8Array {
  return extension(OID.extKeyUsage, false, der.sequence(...purposes.map(der.oid)));
}

/** §4.2.1.12: the purposes, as dotted OIDs; undefined if there is no such extension. Throws `code`. */
export function readExtKeyUsage(from: TbsCertificate, code: Refusal): ReadonlySet<string> | undefined {
  return readValue(from, OID.extKeyUsage, code, (reader) => {
    const list = reader.sequence('extended key usage');
    const purposes = new Set<string>();
    while (list.tag !== undefined) purposes.add(list.oid('purpose'));
    ensure(purposes.size > 0, code, 'extended key usage allows nothing');
    return purposes;
  });
}

export interface SubjectAltNames {
  readonly uris: readonly string[];
  readonly dnsNames?: readonly string[];
  /** §4.2.1.6: must be so when the subject is empty. */
  readonly critical: boolean;
}

/** §4.2.1.6. Does not check the names: the code that composes a certificate does. */
export function subjectAltName({ uris, dnsNames = [], critical }: SubjectAltNames): Uint8Array {
  const names = [
    ...uris.map((uri) => der.implicit(NAME.uri, utf8(uri))),
    ...dnsNames.map((name) => der.implicit(NAME.dns, utf8(name))),
  ];
  return extension(OID.subjectAltName, critical, der.sequence(...names));
}

/** §4.2.1.6: all names; undefined if there is no such extension. Throws `code`. */
export function readSubjectAltName(from: Extended, code: Refusal): readonly GeneralName[] | undefined {
  const found = from.extensions.get(OID.subjectAltName);
  return found && readGeneralNames(found.value, code, 'subject alternative name');
}

/** §4.2.1.2. Not critical. */
export function subjectKeyIdentifier(keyId: Uint8Array): Uint8Array {
  return extension(OID.subjectKeyIdentifier, false, der.octets(keyId));
}

/** §4.2.1.2; undefined if there is no such extension. Throws `code`. */
export function readSubjectKeyIdentifier(from: TbsCertificate, code: Refusal): Uint8Array | undefined {
  return readValue(from, OID.subjectKeyIdentifier, code, (reader) => reader.octets('subject key identifier'));
}

/** §4.2.1.1: the issuer's subject key identifier. */
export function authorityKeyIdentifier(keyId: Uint8Array): Uint8Array {
  return extension(OID.authorityKeyIdentifier, false, der.sequence(der.implicit(0, keyId)));
}

/** A certificate or a revocation list. */
type Extended = Pick<TbsCertificate, 'extensions'>;

export interface AuthorityKeyIdentifier {
  readonly keyId: Uint8Array | undefined;
  /** Whether it names the issuer's certificate by issuer and serial number as well. */
  readonly namesCertificate: boolean;
}

/** §4.2.1.1; undefined if there is no such extension. Throws `code`. */
export function readAuthorityKeyIdentifier(
  from: Extended,
  code: Refusal,
): AuthorityKeyIdentifier | undefined {
  return readValue(from, OID.authorityKeyIdentifier, code, (reader) => {
    const body = reader.sequence('authority key identifier');
    const keyId = body.tag === primitive(0) ? body.content(primitive(0), 'key identifier') : undefined;
    const namesCertificate = body.tag !== undefined;
    if (namesCertificate) {
      body.content(constructed(1), 'authority certificate issuer');
      body.integer('authority certificate serial', primitive(2));
    }
    body.done('authority key identifier');
    return { keyId, namesCertificate };
  });
}

/** §4.2.1.13: where the revocation list of the issuer is. Not critical. */
export function crlDistributionPoint(url: string): Uint8Array {
  const fullName = der.explicit(0, der.implicit(NAME.uri, utf8(url)));
  return extension(OID.crlDistributionPoints, false, der.sequence(der.sequence(der.explicit(0, fullName))));
}

/**
 * §4.2.1.13: the names of the distribution points that are for every reason and of the issuer itself; undefined if
 * there is no such extension. Throws `code`.
 */
export function readCrlDistributionPoints(from: Extended, code: Refusal): readonly GeneralName[] | undefined {
  return readValue(from, OID.crlDistributionPoints, code, (reader) => {
    const list = reader.sequence('CRL distribution points');
    const names: GeneralName[] = [];
    while (list.tag !== undefined) {
      const point = list.sequence('CRL distribution point');
      const where = point.enter(constructed(0), 'name of a CRL distribution point');
      const full = where.enter(constructed(0), 'full name of a CRL distribution point');
      while (full.tag !== undefined) names.push(readGeneralName(full, code, 'CRL distribution point'));
      where.done('name of a CRL distribution point');
      point.done('CRL distribution point');
    }
    ensure(names.length > 0, code, 'there is no CRL distribution point');
    return names;
  });
}

/** RFC 7093 §2 method 1: the leftmost 160 bits of SHA-256 over the subjectPublicKey bits. Throws `code`. */
export function keyIdentifierOf(spki: Uint8Array, code: Refusal): Uint8Array {
  const info = new DerReader(spki, code).sequence('public key');
  info.element(TAG.sequence, 'public key algorithm');
  return hash('sha256', info.bitBytes('public key'), 'buffer').subarray(0, 20);
}

/** The value of an extension, read to its end; undefined if there is no such extension. Throws `code`. */
export function readValue<T>(
  from: Extended,
  id: string,
  code: Refusal,
  read: (reader: DerReader) => T,
): T | undefined {
  const found: Extension | undefined = from.extensions.get(id);
  if (found === undefined) return undefined;
  const reader = new DerReader(found.value, code);
  const value = read(reader);
  reader.done(`extension ${id}`);
  return value;
}
