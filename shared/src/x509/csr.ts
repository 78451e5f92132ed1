/**
 * PKCS #10 requests (RFC 2986), read strictly. A CSR contributes a proven public key and nothing else: the names and
 * extensions that it asks for must be well formed and are ignored, because the CA composes the certificate.
 */
import { hash, type KeyObject } from 'node:crypto';
import { constructed, DerReader, TAG } from '../der/read.ts';
import { ensureDer } from '../der/walk.ts';
import { bitBytes, explicit, sequence } from '../der/write.ts';
import { ensure } from '../ground/errors.ts';
import type { Signer } from '../keys/key.ts';
import { IDENTIFIER, isSignedBy } from './algorithm.ts';
import { parseExtensions } from './certificate.ts';
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
export function verifyCsr(der: Uint8Array): ProvenKey {
  ensure(der.length <= MAX_BYTES, 'csr_size', `CSR is ${der.length} bytes, at most ${MAX_BYTES}`);
  const { info, spki, algorithm, signature } = parseCsr(der);
  const publicKey = ensureStrongKey(spki, 'csr_key');
  // Debian's OpenSSL of 2006 to 2008 made RSA keys that only long lists can detect (CVE-2008-0166).
  ensure(publicKey.asymmetricKeyType === 'ec', 'csr_key', 'RSA keys are not certified: use P-256 or P-384');
  const signed = isSignedBy({ algorithm, data: info, signature }, publicKey);
  ensure(signed, 'csr_pop', 'CSR is not signed by the key that it asks to certify');
  const key: Omit<ProvenKey, typeof proven> = { spki, publicKey, sha256: hash('sha256', spki, 'buffer') };
  return key as ProvenKey;
}

/** A request with an empty subject and no attributes. */
export async function writeCsr(signer: Signer): Promise<Uint8Array> {
  const info = sequence(VERSION_1, EMPTY_NAME, signer.spki, explicit(0));
  return sequence(info, IDENTIFIER[signer.algorithm], bitBytes(await signer.sign(info)));
}

interface ParsedCsr {
  readonly info: Uint8Array;
  readonly spki: Uint8Array;
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
  return { info, spki: readInfo(info), algorithm, signature };
}

/** Returns the SubjectPublicKeyInfo. */
function readInfo(info: Uint8Array): Uint8Array {
  const fields = new DerReader(info, 'csr_parse').sequence('request information');
  const version = fields.smallInteger('version');
  ensure(version === 0, 'csr_parse', `CSR is of version ${version + 1}, not 1`);
  ensureDer(fields.element(TAG.sequence, 'subject'), 'csr_parse', 'subject');
  const spki = fields.element(TAG.sequence, 'public key');
  const attributes = fields.enter(constructed(0), 'attributes');
  fields.done('request information');
  while (attributes.tag !== undefined) readAttribute(attributes.element(TAG.sequence, 'attribute'));
  return spki;
}

function readAttribute(attribute: Uint8Array): void {
  ensureDer(attribute, 'csr_parse', 'attribute');
  const fields = new DerReader(attribute, 'csr_parse').sequence('attribute');
  const type = fields.oid('attribute type');
  const values = fields.enter(TAG.set, 'attribute values');
  fields.done('attribute');
  ensure(values.tag !== undefined, 'csr_parse', `attribute ${type} has no value`);
  if (type === EXTENSION_REQUEST) parseExtensions(values, 'csr_parse');
}
