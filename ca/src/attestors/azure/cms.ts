/**
 * Reads CMS SignedData (RFC 5652) as Azure writes it for attested documents: the content inside, one signer, named by
 * issuer and serial number. It verifies nothing; signer.ts does.
 */

import { constructed, DerReader, TAG } from '@chancery/shared/der/read.ts';
import { concat } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';

export interface SignedData {
  /** What is signed, and nothing beside it. */
  readonly content: Uint8Array;
  /** In the order of the message; which issued which is unknown. */
  readonly certificates: readonly Certificate[];
  readonly signer: SignerInfo;
}

export interface SignerInfo {
  /** A whole DER Name. */
  readonly issuer: Uint8Array;
  readonly serial: Uint8Array;
  readonly digest: Digest;
  /** The whole AlgorithmIdentifier of the signature, with the digest in it. */
  readonly algorithm: Uint8Array;
  /** Undefined if the signature is over the content itself. */
  readonly attributes: SignedAttributes | undefined;
  readonly signature: Uint8Array;
}

export interface SignedAttributes {
  /** What the signature is over: the element with the tag of a SET (§5.4). */
  readonly signed: Uint8Array;
  /** The type of the signed content. */
  readonly contentType: string;
  readonly messageDigest: Uint8Array;
}

export type Digest = 'sha256' | 'sha384' | 'sha512';

const CODE = 'evidence_parse';
const SIGNED_DATA = '1.2.840.113549.1.7.2';
/** Plain bytes: the only content type that is read. */
export const DATA = '1.2.840.113549.1.7.1';
const CONTENT_TYPE = '1.2.840.113549.1.9.3';
const MESSAGE_DIGEST = '1.2.840.113549.1.9.4';
/** Azure's have one, and a whole path three. Each costs a parse; signatures are bounded in x509/path.ts. */
const MAX_CERTIFICATES = 8;
const MAX_ATTRIBUTES = 16;

/** Azure names the signature algorithm instead of the digest; all readers take the digest from it. */
const DIGESTS: Readonly<Record<string, Digest>> = {
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
};

const RSA_ENCRYPTION = '1.2.840.113549.1.1.1';
/** By the signature's OID and the digest: the AlgorithmIdentifier as x509/algorithm.ts knows it. */
const SIGNATURES: Readonly<Record<string, Readonly<Partial<Record<Digest, string>>>>> = {
  [RSA_ENCRYPTION]: {
    sha256: '300d06092a864886f70d01010b0500',
    sha384: '300d06092a864886f70d01010c0500',
    sha512: '300d06092a864886f70d01010d0500',
  },
  '1.2.840.113549.1.1.11': { sha256: '300d06092a864886f70d01010b0500' },
  '1.2.840.113549.1.1.12': { sha384: '300d06092a864886f70d01010c0500' },
  '1.2.840.113549.1.1.13': { sha512: '300d06092a864886f70d01010d0500' },
  '1.2.840.10045.4.3.2': { sha256: '300a06082a8648ce3d040302' },
  '1.2.840.10045.4.3.3': { sha384: '300a06082a8648ce3d040303' },
  '1.2.840.10045.4.3.4': { sha512: '300a06082a8648ce3d040304' },
};

/** Throws evidence_parse, signer for other than one signer, sig_alg. Nothing is verified. */
export function readSignedData(der: Uint8Array): SignedData {
  const outer = new DerReader(der, CODE);
  const info = outer.sequence('CMS');
  outer.done('CMS');
  const type = info.oid('content type');
  ensure(type === SIGNED_DATA, CODE, `the CMS content type is ${type}, not signedData`);
  const wrapper = info.enter(constructed(0), 'signed data');
  info.done('CMS');
  const body = wrapper.sequence('signed data');
  wrapper.done('signed data');
  const version = body.smallInteger('version of signed data');
  ensure(version === 1, CODE, `signed data has version ${version}, 1 is read`);
  // Skipped: each signer names its digest below.
  body.element(TAG.set, 'digest algorithms');
  const content = readContent(body.sequence('content info'));
  const certificates = readCertificates(body.optional(constructed(0), 'certificates'));
  const signer = readOnlySigner(body.enter(TAG.set, 'signer infos'));
  body.done('signed data');
  return { content, certificates, signer };
}

/** A detached signature, whose content is elsewhere, is refused. */
function readContent(info: DerReader): Uint8Array {
  const type = info.oid('type of the content');
  ensure(type === DATA, CODE, `the signed content is of type ${type}, not data`);
  const wrapper = info.enter(constructed(0), 'content');
  info.done('content info');
  const content = wrapper.octets('content');
  wrapper.done('content');
  return content;
}

function readCertificates(list: DerReader | undefined): readonly Certificate[] {
  const found: Uint8Array[] = [];
  while (list?.tag !== undefined) {
    found.push(list.element(TAG.sequence, 'certificate'));
    ensure(
      found.length <= MAX_CERTIFICATES,
      CODE,
      `more than ${MAX_CERTIFICATES} certificates come with the document`,
    );
  }
  return found.map((each) => {
    try {
      return parseCertificate(each);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new IdentityError(CODE, `a certificate of the document: ${why}`, { cause: error });
    }
  });
}

function readOnlySigner(infos: DerReader): SignerInfo {
  ensure(infos.tag !== undefined, 'signer', 'the document has no signer');
  const info = infos.sequence('signer info');
  ensure(infos.tag === undefined, 'signer', 'the document has more than one signer');
  const version = info.smallInteger('version of the signer info');
  ensure(version === 1, CODE, `the signer info has version ${version}: 1, issuer and serial number, is read`);
  const id = info.sequence('issuer and serial number');
  const issuer = id.element(TAG.sequence, 'issuer of the signer');
  const serial = id.integer('serial number of the signer');
  id.done('issuer and serial number');
  const digest = readDigest(info.sequence('digest algorithm'));
  const attributes = info.tag === constructed(0) ? readAttributes(info) : undefined;
  const algorithm = readSignature(info.sequence('signature algorithm'), digest);
  const signature = info.octets('signature');
  // Unsigned attributes are ignored.
  info.done('signer info');
  return { issuer, serial, digest, algorithm, attributes, signature };
}

function readDigest(identifier: DerReader): Digest {
  const oid = identifier.oid('digest algorithm');
  const digest = Object.hasOwn(DIGESTS, oid) ? DIGESTS[oid] : undefined;
  ensure(digest !== undefined, 'sig_alg', `digest algorithm ${oid} is not SHA-256, SHA-384 or SHA-512`);
  endAlgorithm(identifier, 'digest algorithm');
  return digest;
}

function readSignature(identifier: DerReader, digest: Digest): Uint8Array {
  const oid = identifier.oid('signature algorithm');
  const known = Object.hasOwn(SIGNATURES, oid) ? SIGNATURES[oid]?.[digest] : undefined;
  ensure(known !== undefined, 'sig_alg', `signature algorithm ${oid} is not read with ${digest}`);
  endAlgorithm(identifier, 'signature algorithm');
  return Buffer.from(known, 'hex');
}

/** Parameters are absent or NULL: RFC 5754 §2 and §3.2 have both read. */
function endAlgorithm(identifier: DerReader, what: string): void {
  if (identifier.tag !== undefined) identifier.null(`parameters of the ${what}`);
  identifier.done(what);
}

/** §11.1, §11.2: content type and message digest must be there, each once with one value. */
function readAttributes(info: DerReader): SignedAttributes {
  const element = info.element(constructed(0), 'signed attributes');
  const list = new DerReader(element, CODE).enter(constructed(0), 'signed attributes');
  const values = new Map<string, DerReader>();
  while (list.tag !== undefined) {
    const attribute = list.sequence('attribute');
    const type = attribute.oid('attribute type');
    const set = attribute.enter(TAG.set, 'attribute values');
    attribute.done('attribute');
    ensure(!values.has(type), CODE, `signed attribute ${type} is there twice`);
    values.set(type, set);
    ensure(values.size <= MAX_ATTRIBUTES, CODE, `more than ${MAX_ATTRIBUTES} signed attributes`);
  }
  return {
    signed: concat(Uint8Array.of(TAG.set), element.subarray(1)),
    contentType: onlyValue(values.get(CONTENT_TYPE), 'content type', (value) => value.oid('content type')),
    messageDigest: onlyValue(values.get(MESSAGE_DIGEST), 'message digest', (value) => value.octets('digest')),
  };
}

function onlyValue<T>(values: DerReader | undefined, what: string, read: (value: DerReader) => T): T {
  ensure(values !== undefined, CODE, `the signed attributes have no ${what}`);
  const value = read(values);
  values.done(what);
  return value;
}
