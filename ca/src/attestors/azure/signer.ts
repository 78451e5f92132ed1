/**
 * Finds the signer of a document: the one certificate that the signature verifies with. It must have a path to a
 * configured root and the name of Azure's metadata service. Other certificates in the message can only be intermediates
 * (SPIRE once checked the first one instead). Intermediates come from the message and from the config. The address for
 * its issuer's certificate that a certificate names (RFC 5280 §4.2.2.1) is never called: a stranger may have chosen it.
 */
import { hash, type KeyObject } from 'node:crypto';
import { equal } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { isSignedBy } from '@chancery/shared/x509/algorithm.ts';
import { type Certificate, publicKeyOf } from '@chancery/shared/x509/certificate.ts';
import { EKU, KEY_USAGE, readKeyUsage, readSubjectAltName } from '@chancery/shared/x509/extensions.ts';
import { isSameName, NAME, text } from '@chancery/shared/x509/names.ts';
import { verifyPath } from '@chancery/shared/x509/verify/path.ts';
import { DATA, type SignedData } from './cms.ts';

export interface DocumentTrust {
  readonly anchors: readonly Certificate[];
  readonly intermediates: readonly Certificate[];
  /** The signer's name is this or below it: "metadata.azure.com". */
  readonly host: string;
}

/** The content that Azure has signed. Throws signer, sig_invalid, azure_san. */
export function verifyContent(signed: SignedData, trust: DocumentTrust, now: Date): Uint8Array {
  const certificate = signerOf(signed);
  ensureTrusted(certificate, signed.certificates, trust, now);
  ensureHost(certificate, trust.host);
  ensureSigned(signed, certificate);
  return signed.content;
}

function signerOf({ certificates, signer }: SignedData): Certificate {
  const [certificate, ...more] = certificates.filter(
    ({ issuer, serial }) => equal(issuer, signer.issuer) && equal(serial, signer.serial),
  );
  ensure(certificate !== undefined, 'signer', 'the certificate that signed is not in the document');
  ensure(more.length === 0, 'signer', 'two certificates match the issuer and serial number of the signer');
  return certificate;
}

/**
 * Requires a certificate for TLS servers: public authorities verify the name only for those, and Azure signs with such
 * certificates.
 */
function ensureTrusted(
  leaf: Certificate,
  others: readonly Certificate[],
  { anchors, intermediates }: DocumentTrust,
  now: Date,
): void {
  asSigner(() => {
    const above = issuersAbove(leaf, [...others, ...intermediates]);
    verifyPath({ leaf, intermediates: above, anchors, now, eku: EKU.serverAuth });
    const signs = readKeyUsage(leaf, 'signer')?.has(KEY_USAGE.digitalSignature) ?? false;
    ensure(signs, 'signer', 'its key is not for signatures');
  });
}

/** The certificates that may be in the leaf's path, by name: a config may list all of a cloud. */
function issuersAbove(leaf: Certificate, all: readonly Certificate[]): readonly Certificate[] {
  const found: Certificate[] = [];
  const names = [leaf.issuer];
  for (const name of names)
    for (const each of all) {
      if (each === leaf || found.includes(each) || !isSameName(each.subject, name, 'signer')) continue;
      found.push(each);
      names.push(each.issuer);
    }
  return found;
}

function ensureHost(certificate: Certificate, host: string): void {
  const names = readSubjectAltName(certificate, 'azure_san') ?? [];
  const dns = names.filter(({ kind }) => kind === NAME.dns).map(({ value }) => text(value).toLowerCase());
  const matches = dns.some((name) => name === host || name.endsWith(`.${host}`));
  ensure(
    matches,
    'azure_san',
    `the document is signed by ${dns.join(', ') || 'a certificate without DNS names'}, not ${host}`,
  );
}

/** RFC 5652 §5.4: over the content, or over attributes that are for this content. */
function ensureSigned({ content, signer }: SignedData, certificate: Certificate): void {
  const { algorithm, attributes, digest, signature } = signer;
  if (attributes !== undefined) {
    const { contentType, messageDigest } = attributes;
    ensure(contentType === DATA, 'sig_invalid', `the signature is for content of type ${contentType}`);
    const same = equal(messageDigest, hash(digest, content, 'buffer'));
    ensure(same, 'sig_invalid', 'the signature is for another content');
  }
  const key: KeyObject = publicKeyOf(certificate);
  const holds = isSignedBy({ algorithm, data: attributes?.signed ?? content, signature }, key);
  ensure(holds, 'sig_invalid', "the document's signature does not verify");
}

function asSigner(verify: () => void): void {
  try {
    verify();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new IdentityError('signer', `the certificate that signed: ${why}`, { cause: error });
  }
}
