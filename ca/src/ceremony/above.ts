/**
 * The request to a CA above: PKCS #10 with the key and the name of a root, and what its certificate must say, so that a
 * CA that copies extensions gives what peers need (RFC 5280 section 3.2).
 */
import { writePem } from '@chancery/shared/der/pem.ts';
import type { Signer } from '@chancery/shared/keys/key.ts';
import { type TrustDomain, trustDomainId } from '@chancery/shared/spiffe/id.ts';
import type { Certificate } from '@chancery/shared/x509/certificate.ts';
import { writeRequest } from '@chancery/shared/x509/csr.ts';
import * as extension from '@chancery/shared/x509/extensions.ts';
import { PATH_LENGTH } from '../authority/profile.ts';

/** The root whose key signs the request. */
export interface RootAbove {
  readonly certificate: Certificate;
  readonly trustDomain: TrustDomain;
}

/** PEM. Throws what the signer throws. */
export async function writeRequestAbove(
  signer: Signer,
  { certificate, trustDomain }: RootAbove,
): Promise<string> {
  const { subject, spki } = certificate;
  const der = await writeRequest(signer, {
    subject,
    extensions: [
      extension.basicConstraints({ pathLength: PATH_LENGTH.root }),
      extension.keyUsage(extension.KEY_USAGE.keyCertSign, extension.KEY_USAGE.crlSign),
      // What is under the root names it by this, and peers look for it.
      extension.subjectKeyIdentifier(extension.keyIdentifierOf(spki, 'certificate_parse')),
      extension.subjectAltName({ uris: [trustDomainId(trustDomain)], critical: false }),
    ],
  });
  return writePem('CERTIFICATE REQUEST', der);
}
