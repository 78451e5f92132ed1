/** What our certificates say. The server composes all of it; a CSR contributes the key (architecture.md D2). */
import type { Attested } from '@chancery/shared/spiffe/attested.ts';
import type { SpiffeId, TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { trustDomainId } from '@chancery/shared/spiffe/id.ts';
import type { Role } from '@chancery/shared/spiffe/reserved.ts';
import { attestedExtension } from '@chancery/shared/x509/attested.ts';
import type { Certificate } from '@chancery/shared/x509/certificate.ts';
import { type CertificateFields, commonName } from '@chancery/shared/x509/compose/tbs.ts';
import * as extension from '@chancery/shared/x509/extensions.ts';
import { EMPTY_NAME } from '@chancery/shared/x509/names.ts';

/** Covers a peer whose clock is a little behind; SPIRE's figure. */
export const BACKDATE_SECONDS = 10;

export interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface SvidSubject {
  readonly id: SpiffeId;
  readonly dnsNames: readonly string[];
  readonly spki: Uint8Array;
  /** Undefined for every workload. */
  readonly role: Role | undefined;
  /** Whether it names the list of its issuer, where there is one. */
  readonly crl: boolean;
  /** What it says of the workload; undefined for the CA and its operators. */
  readonly attested: Attested | undefined;
}

/** The parts of every leaf under one issuer that do not change, encoded once. */
export interface LeafTemplate {
  readonly issuer: Uint8Array;
  readonly fixed: readonly Uint8Array[];
  /** Where the list of the issuer is; empty if the config does not say. */
  readonly list: readonly Uint8Array[];
  readonly purposes: Readonly<Record<Role | 'workload', Uint8Array>>;
}

const TLS = [extension.EKU.serverAuth, extension.EKU.clientAuth] as const;

/** All of an SVID that is the same for every certificate of this issuer, written once. */
export function leafTemplate(issuer: Certificate, issuerKeyId: Uint8Array, crlUrl?: string): LeafTemplate {
  return {
    issuer: issuer.subject,
    purposes: {
      workload: extension.extKeyUsage(...TLS),
      ca: extension.extKeyUsage(...TLS, extension.ROLE_MARK.ca),
      operator: extension.extKeyUsage(...TLS, extension.ROLE_MARK.operator),
    },
    fixed: [
      extension.keyUsage(extension.KEY_USAGE.digitalSignature),
      extension.basicConstraints(),
      extension.authorityKeyIdentifier(issuerKeyId),
    ],
    list: listAt(crlUrl),
  };
}

/** Where the CRL of an authority is, for what it signs; undefined if the config names no place. */
export const crlUrlOf = (base: string | undefined, serial: string): string | undefined =>
  base === undefined ? undefined : `${base}/${serial}.crl`;

const listAt = (crlUrl: string | undefined): readonly Uint8Array[] =>
  crlUrl === undefined ? [] : [extension.crlDistributionPoint(crlUrl)];

/** X509-SVID sections 2 to 4: empty subject, so the SAN is critical; one URI. */
export function leafFields(
  template: LeafTemplate,
  subject: SvidSubject,
  serial: Uint8Array,
  validity: Validity,
): CertificateFields {
  const { id, dnsNames, spki, crl, attested, role = 'workload' } = subject;
  return {
    serial,
    issuer: template.issuer,
    subject: EMPTY_NAME,
    ...validity,
    spki,
    extensions: [
      ...template.fixed,
      ...(crl ? template.list : []),
      template.purposes[role],
      extension.subjectKeyIdentifier(extension.keyIdentifierOf(spki, 'csr_key')),
      extension.subjectAltName({ uris: [id], dnsNames, critical: true }),
      ...(attested === undefined ? [] : [attestedExtension(attested)]),
    ],
  };
}

/** One intermediate under the root, and only leaves under that. */
export const PATH_LENGTH = { root: 1, intermediate: 0 } as const;

export interface AuthoritySubject {
  readonly kind: 'root' | 'intermediate';
  readonly trustDomain: TrustDomain;
  readonly spki: Uint8Array;
  readonly keyId: Uint8Array;
  /** The signer's name and key identifier; for a root its own. */
  readonly signer: { readonly subject: Uint8Array; readonly keyId: Uint8Array } | undefined;
  /** Of the signer; undefined for a root. */
  readonly crlUrl: string | undefined;
}

/** The subject is unique by its serial, so that no two authorities can be taken for one another (section 7). */
export function authorityFields(
  subject: AuthoritySubject,
  serial: Uint8Array,
  validity: Validity,
): CertificateFields {
  const { kind, trustDomain, spki, keyId, signer, crlUrl } = subject;
  const name = commonName(`Chancery ${kind} ${Buffer.from(serial).toString('hex').slice(0, 16)}`);
  return {
    serial,
    issuer: signer?.subject ?? name,
    subject: name,
    ...validity,
    spki,
    extensions: [
      extension.basicConstraints({ pathLength: PATH_LENGTH[kind] }),
      extension.keyUsage(extension.KEY_USAGE.keyCertSign, extension.KEY_USAGE.crlSign),
      extension.subjectKeyIdentifier(keyId),
      extension.authorityKeyIdentifier(signer?.keyId ?? keyId),
      extension.subjectAltName({ uris: [trustDomainId(trustDomain)], critical: false }),
      ...listAt(crlUrl),
    ],
  };
}
