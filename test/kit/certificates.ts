/** Certificates to spoil: genuine ones in our own profile, of which a test replaces one part. */
import { createPublicKey, type KeyObject, sign } from 'node:crypto';
import { constructed, DerReader, TAG } from '@chancery/shared/der/read.ts';
import * as der from '@chancery/shared/der/write.ts';
import { oid, sequence } from '@chancery/shared/der/write.ts';
import { generateKey, signerOf, spkiOf } from '@chancery/shared/keys/key.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';
import {
  assembleCertificate,
  type CertificateFields,
  commonName,
  writeTbs,
} from '@chancery/shared/x509/compose/tbs.ts';
import * as x509 from '@chancery/shared/x509/extensions.ts';
import { EMPTY_NAME, NAME } from '@chancery/shared/x509/names.ts';

/** An authority or a leaf, with its key. */
export interface Made {
  readonly certificate: Certificate;
  readonly key: KeyObject;
}

/** Extensions by a name of the test's choosing; undefined leaves one out. */
export type Extensions = Readonly<Record<string, Uint8Array | undefined>>;

export interface Recipe {
  readonly key?: KeyObject;
  readonly extensions?: Extensions;
  readonly fields?: Partial<CertificateFields>;
}

export const NOW = new Date('2026-06-01T12:00:00Z');
export const after = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1000);

/** A whole Extension, as extensions.ts writes them and for those that it does not write. */
export function extension(id: string, critical: boolean, value: Uint8Array): Uint8Array {
  return critical
    ? sequence(oid(id), der.boolean(true), der.octets(value))
    : sequence(oid(id), der.octets(value));
}

/** RFC 5280 §4.2.1.10: authorities below may only name URIs on this host. */
export function uriConstraint(host: string): Uint8Array {
  const subtree = der.sequence(der.implicit(NAME.uri, Buffer.from(host)));
  return extension(x509.OID.nameConstraints, true, der.sequence(der.explicit(0, subtree)));
}

let serials = 0;
/** 16 bytes that begin with 1 and are never twice the same in a run. */
export function nextSerial(): Uint8Array {
  serials += 1;
  const serial = Buffer.alloc(16, 1);
  serial.writeUInt32BE(serials, 12);
  return serial;
}

export function authorityFields(
  name: string,
  key: KeyObject,
  issuer: Made | undefined,
  changed: Extensions = {},
): CertificateFields {
  const spki = spkiOf(key);
  const keyId = x509.keyIdentifierOf(spki, 'der');
  const subject = commonName(name);
  const extensions: Extensions = {
    constraints: x509.basicConstraints({ pathLength: undefined }),
    usage: x509.keyUsage(x509.KEY_USAGE.keyCertSign, x509.KEY_USAGE.crlSign),
    keyId: x509.subjectKeyIdentifier(keyId),
    authority: issuer && x509.authorityKeyIdentifier(keyIdOf(issuer)),
    ...changed,
  };
  return {
    serial: nextSerial(),
    issuer: issuer?.certificate.subject ?? subject,
    subject,
    notBefore: after(-24 * 3600),
    notAfter: after(365 * 24 * 3600),
    spki,
    extensions: listed(extensions),
  };
}

/** A root where there is no issuer. */
export function makeAuthority(name: string, issuer?: Made, recipe: Recipe = {}): Made {
  const { key = generateKey(), extensions, fields } = recipe;
  const { algorithm } = signerOf(issuer?.key ?? key);
  const tbs = writeTbs({ ...authorityFields(name, key, issuer, extensions), ...fields }, algorithm);
  return { key, certificate: parseCertificate(signed(tbs, issuer?.key ?? key)) };
}

export function leafFields(
  id: string,
  key: KeyObject,
  issuer: Made,
  changed: Extensions = {},
): CertificateFields {
  const extensions: Extensions = {
    constraints: x509.basicConstraints(),
    usage: x509.keyUsage(x509.KEY_USAGE.digitalSignature),
    purposes: x509.extKeyUsage(x509.EKU.serverAuth, x509.EKU.clientAuth),
    authority: x509.authorityKeyIdentifier(keyIdOf(issuer)),
    names: x509.subjectAltName({ uris: [id], critical: true }),
    ...changed,
  };
  return {
    serial: nextSerial(),
    issuer: issuer.certificate.subject,
    subject: EMPTY_NAME,
    notBefore: after(-10),
    notAfter: after(3600),
    spki: spkiOf(key),
    extensions: listed(extensions),
  };
}

export function makeLeaf(id: string, issuer: Made, recipe: Recipe = {}): Made {
  const { key = generateKey(), extensions, fields } = recipe;
  const { algorithm } = signerOf(issuer.key);
  const tbs = writeTbs({ ...leafFields(id, key, issuer, extensions), ...fields }, algorithm);
  return { key, certificate: parseCertificate(signed(tbs, issuer.key)) };
}

export function signed(tbs: Uint8Array, key: KeyObject): Uint8Array {
  const { algorithm } = signerOf(key);
  return assembleCertificate(
    tbs,
    algorithm,
    sign(algorithm === 'ecdsa-p384' ? 'sha384' : 'sha256', tbs, key),
  );
}

/** What a manufacturer of TPMs may write and `writeTbs` never does: whole elements of these fields. */
export interface RawFields {
  readonly serial?: Uint8Array;
  readonly times?: readonly [notBefore: Uint8Array, notAfter: Uint8Array];
}

/** The certificate with other elements in it, signed again. */
export function rewritten({ der: whole }: Certificate, signer: KeyObject, raw: RawFields): Uint8Array {
  const body = new DerReader(whole, 'der').sequence('certificate').sequence('to-be-signed');
  const version = body.element(constructed(0), 'version');
  const serial = body.element(TAG.integer, 'serial');
  const algorithm = body.element(TAG.sequence, 'algorithm');
  const issuer = body.element(TAG.sequence, 'issuer');
  const times = body.element(TAG.sequence, 'validity');
  const rest: Uint8Array[] = [];
  while (body.tag !== undefined) rest.push(body.element(body.tag, 'field'));
  const validity = raw.times === undefined ? times : sequence(...raw.times);
  const tbs = sequence(version, raw.serial ?? serial, algorithm, issuer, validity, ...rest);
  return signed(tbs, signer);
}

/** GeneralizedTime, whatever the year. */
export const generalizedTime = (time: Date): Uint8Array =>
  der.tlv(TAG.generalizedTime, Buffer.from(`${time.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`));

export function keyIdOf({ key }: Made): Uint8Array {
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  return x509.keyIdentifierOf(spki, 'der');
}

function listed(extensions: Extensions): Uint8Array[] {
  return Object.values(extensions).filter((extension) => extension !== undefined);
}
