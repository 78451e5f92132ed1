/** A certificate for a stand-in on localhost, and for other names, and the authority that it is from. */
import { writePem } from '@chancery/shared/der/pem.ts';
import { keyPem } from '@chancery/shared/tls/options.ts';
import * as x509 from '@chancery/shared/x509/extensions.ts';
import { makeAuthority, makeLeaf } from '../certificates.ts';

const DAY_MS = 86_400_000;

export interface MadeTls {
  readonly ca: string;
  readonly tls: { readonly cert: string; readonly key: string };
}

export function localhostTls(...more: readonly string[]): MadeTls {
  const now = Date.now();
  const fields = { notBefore: new Date(now - DAY_MS), notAfter: new Date(now + DAY_MS) };
  const authority = makeAuthority('somebody', undefined, { fields });
  const names = x509.subjectAltName({ uris: [], dnsNames: ['localhost', ...more], critical: true });
  const leaf = makeLeaf('', authority, { fields, extensions: { names } });
  const cert = writePem('CERTIFICATE', leaf.certificate.der);
  return { ca: writePem('CERTIFICATE', authority.certificate.der), tls: { cert, key: keyPem(leaf.key) } };
}
