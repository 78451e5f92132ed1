/**
 * PKCS #10 requests (RFC 2986), read strictly. A CSR contributes a proven public key and nothing else: the names and
 * extensions that it asks for must be well formed and are ignored, because the CA composes the certificate.
 */
import { hash, type KeyObject } from 'node:crypto';
import { constructed, DerReader, TAG } from '../der/read.ts';
import { ensureDer } from '../der/walk.ts';
import { bitBytes, explicit, oid, sequence, set } from '../der/write.ts';
import { ensure } from '../ground/errors.ts';
import type { Signer } from '../keys/key.ts';
import { IDENTIFIER, isSignedBy } from './algorithm.ts';
import { type Extension, parseExtensions } from './certificate.ts';
import { ensureStrongKey } from './key-strength.ts';
import { EMPTY_NAME } from './names.ts';

declare const proven: unique symbol;
/** A public key whose private half signed a request. Only `verifyCsr` makes one. */
export interface ProvenKey {
  readonly [proven]: true;
  readonly spki: Uint8Array;
  readonly publicKey: KeyObject;
  /** SHA-256 of `spki`: the key's name. */
  readonly sha256: Uint8Array;
}

/** A request for an RSA-4096 key with a page of extensions is a fifth of this. */
const MAX_BYTES = 16 * 1024;
const EXTENSION_REQUEST = '1.2.840.113549.1.9.14';
const VERSION_1 = Uint8Array.of(TAG.integer, 1, 0);

/**
 * Verifies the signature and returns the key. Throws csr_size, csr_parse, csr_key and csr_pop, the cheap checks first.
 */
export const verifyCsr = (der: Uint8Array): ProvenKey => verifyRequest(der).key;

/** A key, and what its holder asks for: nobody has proven that. */
export interface CertificateRequest {
  readonly key: ProvenKey;
  /** A whole DER Name. */
  readonly subject: Uint8Array;
  /** By dotted OID. */
  readonly extensions: ReadonlyMap<string, Extension>;
}

/** As `verifyCsr`, with what is asked for, which a person compares. */
export function verifyRequest(der: Uint8Array): CertificateRequest {
  ensure(der.length <= MAX_BYTES, 'csr_size', `CSR is ${der.length} bytes, at most ${MAX_BYTES}`);
  const { info, spki, algorithm, signature, subject, extensions } = parseCsr(der);
  const publicKey = ensureStrongKey(spki, 'csr_key');
  // Debian's OpenSSL of 2006 to 2008 made RSA keys that only long lists can detect (CVE-2008-0166).
  ensure(publicKey.asymmetricKeyType === 'ec', 'csr_key', 'RSA keys are not certified: use P-256 or P-384');
  const signed = isSignedBy({ algorithm, data: info, signature }, publicKey);
  ensure(signed, 'csr_pop', 'CSR is not signed by the key that it asks to certify');
  const key: Omit<ProvenKey, typeof proven> = { spki, publicKey, sha256: hash('sha256', spki, 'buffer') };
  return { key: key as ProvenKey, subject, extensions };
}

/** A request with an empty subject and no attributes. */
export const writeCsr = (signer: Signer): Promise<Uint8Array> =>
  writeRequest(signer, { subject: EMPTY_NAME, extensions: [] });

interface Wishes {
  /** A whole DER Name. */
  readonly subject: Uint8Array;
  /** Whole Extensions, in order. */
  readonly extensions: readonly Uint8Array[];
}

/** A request that asks for this subject and these extensions (RFC 2985 section 5.4.2). */
export async function writeRequest(signer: Signer, { subject, extensions }: Wishes): Promise<Uint8Array> {
  const asked =
    extensions.length === 0 ? [] : [sequence(oid(EXTENSION_REQUEST), set(sequence(...extensions)))];
  const info = sequence(VERSION_1, subject, signer.spki, explicit(0, ...asked));
  return sequence(info, IDENTIFIER[signer.algorithm], bitBytes(await signer.sign(info)));
}

interface ParsedInfo extends Omit<CertificateRequest, 'key'> {
  readonly spki: Uint8Array;
}

interface ParsedCsr extends ParsedInfo {
  readonly info: Uint8Array;
  readonly algorithm: Uint8Array;
  readonly signature: Uint8Array;
}

function parseCsr(der: Uint8Array): ParsedCsr {
  const outer = new DerReader(der, 'csr_parse');
  const body = outer.sequence('CSR');
  const info = body.element(TAG.sequence, 'request information');
  const algorithm = body.element(TAG.sequence, 'signature algorithm');
  const signature = body.bitBytes('signature');
  body.done('CSR');
  outer.done('CSR');
  return { ...readInfo(info), info, algorithm, signature };
}

function readInfo(info: Uint8Array): ParsedInfo {
  const fields = new DerReader(info, 'csr_parse').sequence('request information');
  const version = fields.smallInteger('version');
  ensure(version === 0, 'csr_parse', `CSR is of version ${version + 1}, not 1`);
  const subject = fields.element(TAG.sequence, 'subject');
  ensureDer(subject, 'csr_parse', 'subject');
  const spki = fields.element(TAG.sequence, 'public key');
  const attributes = fields.enter(constructed(0), 'attributes');
  fields.done('request information');
  const asked: ReadonlyMap<string, Extension>[] = [];
  while (attributes.tag !== undefined)
    asked.push(...readAttribute(attributes.element(TAG.sequence, 'attribute')));
  const [extensions = new Map(), ...more] = asked;
  ensure(more.length === 0, 'csr_parse', 'CSR asks for extensions twice');
  return { subject, spki, extensions };
}

/** The extensions that it asks for, if it asks for any. */
function readAttribute(attribute: Uint8Array): readonly ReadonlyMap<string, Extension>[] {
  ensureDer(attribute, 'csr_parse', 'attribute');
  const fields = new DerReader(attribute, 'csr_parse').sequence('attribute');
  const type = fields.oid('attribute type');
  const values = fields.enter(TAG.set, 'attribute values');
  fields.done('attribute');
  ensure(values.tag !== undefined, 'csr_parse', `attribute ${type} has no value`);
  return type === EXTENSION_REQUEST ? [parseExtensions(values, 'csr_parse')] : [];
}
