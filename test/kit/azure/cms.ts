/**
 * Writes CMS SignedData (RFC 5652), in Azure's own shape and in shapes to spoil: what openssl makes of it is judged in
 * test/interop/azure.test.ts.
 */
import { hash, type KeyObject, sign } from 'node:crypto';
import * as der from '@chancery/shared/der/write.ts';
import type { Certificate } from '@chancery/shared/x509/certificate.ts';

export const OID = {
  signedData: '1.2.840.113549.1.7.2',
  data: '1.2.840.113549.1.7.1',
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  rsa: '1.2.840.113549.1.1.1',
  sha1Rsa: '1.2.840.113549.1.1.5',
  sha256Rsa: '1.2.840.113549.1.1.11',
  sha384Rsa: '1.2.840.113549.1.1.12',
  sha256Ecdsa: '1.2.840.10045.4.3.2',
  rsaPss: '1.2.840.113549.1.1.10',
} as const;

const NULL = Uint8Array.of(5, 0);
const SET_OF_ATTRIBUTES = 0x31;
const IMPLICIT_0 = 0xa0;

export const algorithm = (oid: string): Uint8Array => der.sequence(der.oid(oid), NULL);
export const attribute = (oid: string, ...values: readonly Uint8Array[]): Uint8Array =>
  der.sequence(der.oid(oid), der.set(...values));

/** Content type and message digest, in the order in which DER has them. */
export const attributesFor = (content: Uint8Array, digest = 'sha256'): readonly Uint8Array[] => [
  attribute(OID.contentType, der.oid(OID.data)),
  attribute(OID.messageDigest, der.octets(hash(digest, content, 'buffer'))),
];

export interface SignerRecipe {
  readonly content: Uint8Array;
  /** The certificate that the signer info names. */
  readonly certificate: Certificate;
  readonly key: KeyObject;
  /** Signed instead of the content. */
  readonly attributes?: readonly Uint8Array[];
  /** Azure writes the signature's algorithm here. */
  readonly digestOid?: string;
  readonly signatureOid?: string;
  readonly digest?: string;
  readonly version?: number;
  readonly signature?: Uint8Array;
  /** After the signature. */
  readonly more?: Uint8Array;
}

export function signerInfo(recipe: SignerRecipe): Uint8Array {
  const { content, certificate, key, attributes, digest = 'sha256', version = 1 } = recipe;
  const { digestOid = OID.sha256Rsa, signatureOid = OID.rsa, more = new Uint8Array() } = recipe;
  const serial = der.tlv(0x02, certificate.serial);
  const signed = attributes === undefined ? content : der.tlv(SET_OF_ATTRIBUTES, ...attributes);
  return der.sequence(
    der.smallInteger(version),
    der.sequence(certificate.issuer, serial),
    algorithm(digestOid),
    ...(attributes === undefined ? [] : [der.tlv(IMPLICIT_0, ...attributes)]),
    algorithm(signatureOid),
    der.octets(recipe.signature ?? sign(digest, signed, key)),
    more,
  );
}

export interface SignedDataRecipe {
  /** Undefined for a detached signature. */
  readonly content: Uint8Array | undefined;
  /** DER, as they stand. */
  readonly certificates?: readonly Uint8Array[];
  readonly signers: readonly Uint8Array[];
  readonly version?: number;
  readonly type?: string;
  readonly contentType?: string;
  readonly crls?: Uint8Array;
}

export function signedData(recipe: SignedDataRecipe): Uint8Array {
  const { content, certificates, signers, crls = new Uint8Array() } = recipe;
  const { version = 1, type = OID.signedData, contentType = OID.data } = recipe;
  const inside = content === undefined ? [] : [der.explicit(0, der.octets(content))];
  return der.sequence(
    der.oid(type),
    der.explicit(
      0,
      der.sequence(
        der.smallInteger(version),
        der.set(algorithm(OID.sha256Rsa)),
        der.sequence(der.oid(contentType), ...inside),
        ...(certificates === undefined ? [] : [der.tlv(IMPLICIT_0, ...certificates)]),
        crls,
        der.set(...signers),
      ),
    ),
  );
}
