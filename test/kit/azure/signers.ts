/** The certificates behind attested documents: a root, an issuing authority below it, and who signs. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { writePem } from '@chancery/shared/der/pem.ts';
import * as der from '@chancery/shared/der/write.ts';
import { spkiOf } from '@chancery/shared/keys/key.ts';
import { commonName } from '@chancery/shared/x509/compose/tbs.ts';
import * as x509 from '@chancery/shared/x509/extensions.ts';
import { NAME } from '@chancery/shared/x509/names.ts';
import { type Extensions, extension, type Made, makeAuthority, makeLeaf } from '../certificates.ts';

export interface DocumentSigners {
  readonly root: Made;
  readonly issuing: Made;
  readonly leaf: Made;
  /** PEM of the root, and of the issuing authority. */
  readonly rootPem: string;
  readonly issuingPem: string;
  /** One more certificate of the issuing authority, for names of the test's choice. */
  certify(names: readonly string[], recipe?: LeafRecipe): Made;
}

export interface LeafRecipe {
  readonly issuer?: Made;
  readonly key?: KeyObject;
  readonly extensions?: Extensions;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly serial?: Uint8Array;
}

const DAY_MS = 86_400_000;
const KEY_ENCIPHERMENT = 2;

export const rsaKey = (bits = 2048): KeyObject =>
  generateKeyPairSync('rsa', { modulusLength: bits }).privateKey;

/** Where a certificate says that its issuer's is to be had (RFC 5280 §4.2.2.1). */
export const caIssuers = (url: string): Uint8Array =>
  extension(
    x509.OID.authorityInfoAccess,
    false,
    der.sequence(der.sequence(der.oid('1.3.6.1.5.5.7.48.2'), der.implicit(NAME.uri, Buffer.from(url)))),
  );

export function makeDocumentSigners(now: Date, hosts: readonly string[] = HOSTS): DocumentSigners {
  const life = (days: number) => ({
    notBefore: new Date(now.getTime() - DAY_MS),
    notAfter: new Date(now.getTime() + days * DAY_MS),
  });
  const root = makeAuthority('Test Global Root G2', undefined, { fields: life(3650) });
  const issuing = makeAuthority('Test Azure TLS Issuing CA 01', root, { fields: life(1825) });
  const certify: DocumentSigners['certify'] = (names, recipe = {}) => {
    const { issuer = issuing, key = rsaKey(), extensions, notBefore, notAfter, serial } = recipe;
    return makeLeaf('', issuer, {
      key,
      fields: {
        ...life(180),
        subject: commonName(names[0] ?? 'nobody'),
        ...(notBefore && { notBefore }),
        ...(notAfter && { notAfter }),
        ...(serial && { serial }),
      },
      extensions: {
        constraints: undefined,
        usage: x509.keyUsage(x509.KEY_USAGE.digitalSignature, KEY_ENCIPHERMENT),
        names: x509.subjectAltName({ uris: [], dnsNames: names, critical: false }),
        keyId: x509.subjectKeyIdentifier(x509.keyIdentifierOf(spkiOf(key), 'der')),
        issuers: caIssuers('http://issuers.example/issuing.crt'),
        ...extensions,
      },
    });
  };
  return {
    root,
    issuing,
    leaf: certify(hosts),
    rootPem: writePem('CERTIFICATE', root.certificate.der),
    issuingPem: writePem('CERTIFICATE', issuing.certificate.der),
    certify,
  };
}

/** As those that Azure signs with have them. */
const HOSTS = ['metadata.azure.com', 'southcentralus.metadata.azure.com'];
