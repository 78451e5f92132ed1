/**
 * The EK certificate (TCG EK Credential Profile, section 3.2): a manufacturer certifies that this key belongs to one of
 * its TPMs. It does not prove in which machine the TPM is, nor that nobody listens on the bus to it.
 */
import { hash } from 'node:crypto';
import { DerReader, TAG } from '../der/read.ts';
import { equal, hex } from '../ground/bytes.ts';
import { ensure, IdentityError } from '../ground/errors.ts';
import { type Certificate, parseManufacturerCertificate } from '../x509/certificate.ts';
import { readBasicConstraints, readExtKeyUsage, readSubjectAltName } from '../x509/extensions.ts';
import { ensureStrongKey } from '../x509/key-strength.ts';
import { isSameName, NAME } from '../x509/names.ts';
import { verifyPath } from '../x509/verify/path.ts';
import { keyOf, type PublicArea, spkiOf } from './public-area.ts';

export interface ManufacturerTrust {
  readonly anchors: readonly Certificate[];
  readonly intermediates: readonly Certificate[];
  readonly profile: EkProfile;
}

/** What a kind of EK certificate must have, and which attributes it gives. */
export interface EkProfile {
  /** The purpose that the certificate names; undefined if its kind names none. */
  readonly eku: string | undefined;
  /** The attributes of the TPM that the certificate names. Throws ek_profile. */
  read(certificate: Certificate): Readonly<Record<string, string>>;
}

/** The agent's claim, not yet verified. */
export interface ClaimedEndorsement {
  /** DER. */
  readonly certificate: Uint8Array;
  /**
   * Certificates of issuers from the TPM: DER, concatenated, in any order. They help to find a path and are not
   * trusted.
   */
  readonly chain: Uint8Array;
  /** The endorsement key. */
  readonly area: PublicArea;
}

export interface Endorsement {
  /** SHA-256 of the EK's SubjectPublicKeyInfo, hexadecimal: the TPM's name. */
  readonly id: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** tcg-kp-EKCertificate. */
const EK_PURPOSE = '2.23.133.8.1';
/** tcg-at-tpmManufacturer (`id:49465800`), tcg-at-tpmModel and tcg-at-tpmVersion, the version of the firmware. */
const DEVICE_ATTRIBUTES = { manufacturer: '2.23.133.2.1', model: '2.23.133.2.2', version: '2.23.133.2.3' };
/** Real chains have two to four. */
const MAX_BROUGHT = 8;
const PLAIN = /^[\x20-\x7e]{1,64}$/;

/**
 * The TCG's profile: the certificate must have its purpose, and gives the TPM's `manufacturer`, `model` and `version`.
 */
export const TCG_PROFILE: EkProfile = {
  eku: EK_PURPOSE,
  read(certificate) {
    const purposes = readExtKeyUsage(certificate, 'ek_profile');
    ensure(purposes?.has(EK_PURPOSE) ?? false, 'ek_profile', 'the certificate is not for an endorsement key');
    return readDevice(certificate);
  },
};

/** Verifies that the certificate is for the key of `area` and chains to a manufacturer's root. Throws the ek_ codes. */
export function verifyEndorsement(
  { certificate: der, chain, area }: ClaimedEndorsement,
  trust: ManufacturerTrust,
  now: Date,
): Endorsement {
  const certificate = parse(der, 'the EK certificate');
  const brought = cutChain(chain);
  keyOf(area, 'ek_parse');
  ensure(equal(certificate.spki, spkiOf(area)), 'ek_mismatch', 'the EK certificate is for another key');
  ensureStrongKey(certificate.spki, 'ek_weak');
  ensureValid(certificate, now);
  const isCa = readBasicConstraints(certificate, 'ek_profile')?.ca ?? false;
  ensure(!isCa, 'ek_profile', "the certificate is an authority's");
  const attributes = trust.profile.read(certificate);
  const known = [...brought, ...trust.intermediates];
  ensureChain(certificate, { ...trust, intermediates: issuersOf(certificate, known) }, now);
  return { id: hex(hash('sha256', certificate.spki, 'buffer')), attributes };
}

function parse(der: Uint8Array, what: string): Certificate {
  try {
    return parseManufacturerCertificate(der);
  } catch (error) {
    throw new IdentityError('ek_encoding', `${what} is not one DER certificate`, { cause: error });
  }
}

/** Throws ek_encoding. */
function cutChain(bytes: Uint8Array): readonly Certificate[] {
  const reader = new DerReader(bytes, 'ek_encoding');
  const found: Certificate[] = [];
  while (reader.tag !== undefined) {
    ensure(
      found.length < MAX_BROUGHT,
      'ek_encoding',
      `the EK chain has more than ${MAX_BROUGHT} certificates`,
    );
    const element = reader.element(TAG.sequence, 'a certificate of the EK chain');
    found.push(parse(element, 'a certificate of the EK chain'));
  }
  return found;
}

/**
 * The certificates that can be above the leaf, by their names: vendors have dozens of intermediates, and path.ts tries
 * at most 64 issuers.
 */
function issuersOf(leaf: Certificate, known: readonly Certificate[]): readonly Certificate[] {
  const above = new Set<Certificate>();
  collectIssuers(leaf, known, above);
  return [...above];
}

function collectIssuers(below: Certificate, known: readonly Certificate[], above: Set<Certificate>): void {
  for (const each of known) {
    if (above.has(each) || !isSameName(each.subject, below.issuer, 'ek_chain')) continue;
    above.add(each);
    collectIssuers(each, known, above);
  }
}

/** Most are valid until the end of 9999, which means "no end" (RFC 5280 §4.1.2.5). */
function ensureValid({ notBefore, notAfter }: Certificate, now: Date): void {
  ensure(
    now >= notBefore,
    'ek_validity',
    `the EK certificate is not valid before ${notBefore.toISOString()}`,
  );
  ensure(now <= notAfter, 'ek_validity', `the EK certificate has expired ${notAfter.toISOString()}`);
}

function ensureChain(leaf: Certificate, trust: ManufacturerTrust, now: Date): void {
  const { anchors, intermediates, profile } = trust;
  const { eku } = profile;
  try {
    verifyPath({ leaf, anchors, intermediates, now, ...(eku && { eku }), manufacturers: true });
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new IdentityError('ek_chain', `no path to a manufacturer's root: ${detail}`, { cause: error });
  }
}

/** Section 3.2.9: a directory name in the subject alternative name. */
function readDevice(certificate: Certificate): Readonly<Record<string, string>> {
  const names = readSubjectAltName(certificate, 'ek_profile') ?? [];
  const directory = names.find(({ kind }) => kind === NAME.directory);
  ensure(directory !== undefined, 'ek_profile', 'the EK certificate does not name its TPM');
  const attributes = readAttributes(directory.value);
  const { manufacturer, model, version } = DEVICE_ATTRIBUTES;
  return {
    manufacturer: one(attributes, manufacturer),
    model: one(attributes, model),
    version: one(attributes, version),
  };
}

type Attribute = readonly [oid: string, value: string];

function one(attributes: readonly Attribute[], oid: string): string {
  const [value, ...more] = attributes.filter(([type]) => type === oid).map(([, text]) => text);
  ensure(value !== undefined, 'ek_profile', `the EK certificate has no ${oid}`);
  ensure(more.length === 0, 'ek_profile', `the EK certificate has several ${oid}`);
  ensure(PLAIN.test(value), 'ek_profile', `${oid} of the EK certificate is not plain text`);
  return value;
}

/** Vendors write the three attributes in one relative distinguished name or in three. */
function readAttributes(name: Uint8Array): readonly Attribute[] {
  const list = new DerReader(name, 'ek_profile').sequence('name of the TPM');
  const found: Attribute[] = [];
  while (list.tag !== undefined) {
    const relative = list.enter(TAG.set, 'relative name');
    while (relative.tag !== undefined) found.push(readAttribute(relative.sequence('attribute')));
  }
  return found;
}

function readAttribute(pair: DerReader): Attribute {
  const oid = pair.oid('attribute type');
  const value = pair.content(pair.tag ?? 0, 'attribute value');
  pair.done('attribute');
  return [oid, Buffer.from(value).toString('utf8')];
}
