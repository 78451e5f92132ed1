/**
 * The request for the certificate of an authority, as a file that people carry: PKCS #10 in one PEM block, which
 * openssl prints as well. What it asks for is what the answer will say, so that who signs sees it before.
 */
import { writePem } from '@chancery/shared/der/pem.ts';
import { asBuffer, hex } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { algorithmOf, type KeyAlgorithm, type Signer } from '@chancery/shared/keys/key.ts';
import { parseTrustDomain, type TrustDomain, trustDomainId } from '@chancery/shared/spiffe/id.ts';
import { commonName } from '@chancery/shared/x509/compose/tbs.ts';
import {
  type CertificateRequest,
  type ProvenKey,
  verifyRequest,
  writeRequest,
} from '@chancery/shared/x509/csr.ts';
import * as extension from '@chancery/shared/x509/extensions.ts';
import { NAME, text } from '@chancery/shared/x509/names.ts';
import { PATH_LENGTH } from '../authority/profile.ts';
import type { AuthorityKind } from '../store/store.ts';
import { oneBlock } from './block.ts';

const LABEL = 'CERTIFICATE REQUEST';
const CODE = 'authority_request';
const ASKED: readonly string[] = [
  extension.OID.basicConstraints,
  extension.OID.keyUsage,
  extension.OID.subjectAltName,
];
const USAGE = [extension.KEY_USAGE.keyCertSign, extension.KEY_USAGE.crlSign] as const;

/** A request whose key is proven, and that asks for what an authority of this kind has and nothing else. */
export interface AuthorityRequest {
  readonly kind: AuthorityKind;
  readonly trustDomain: TrustDomain;
  readonly key: ProvenKey;
  readonly algorithm: KeyAlgorithm;
  readonly der: Uint8Array;
}

export interface AuthorityWish {
  readonly kind: AuthorityKind;
  readonly trustDomain: TrustDomain;
  /** Hexadecimal; names the request in its subject. */
  readonly label: string;
}

/** PEM, as `readRequest` takes it. */
export async function writeAuthorityRequest(signer: Signer, wish: AuthorityWish): Promise<string> {
  const { kind, trustDomain, label } = wish;
  const der = await writeRequest(signer, {
    subject: commonName(`Chancery ${kind} request ${label.slice(0, 16)}`),
    extensions: [
      extension.basicConstraints({ pathLength: PATH_LENGTH[kind] }),
      extension.keyUsage(...USAGE),
      extension.subjectAltName({ uris: [trustDomainId(trustDomain)], critical: false }),
    ],
  });
  return writePem(LABEL, der);
}

/**
 * Reads a request for an authority of this kind. Throws authority_request for a file that is more or less than one
 * request and for one that asks for something else; csr_parse, csr_key and csr_pop for one whose key is not proven.
 */
export function readAuthorityRequest(bytes: Uint8Array, kind: AuthorityKind): AuthorityRequest {
  const der = oneBlock(bytes, LABEL, CODE);
  const asked = verifyRequest(der);
  const algorithm = algorithmOf(asked.key.spki);
  ensure(algorithm !== undefined, CODE, 'the key of the request is not on P-256 or P-384');
  ensureAuthority(asked, kind);
  return { kind, trustDomain: trustDomainIn(asked), key: asked.key, algorithm, der };
}

function ensureAuthority(asked: CertificateRequest, kind: AuthorityKind): void {
  const constraints = extension.readBasicConstraints(asked, CODE);
  ensure(constraints?.ca === true, CODE, 'the request does not ask for an authority (CA:TRUE)');
  const { pathLength } = constraints;
  const expected = PATH_LENGTH[kind];
  const found = pathLength === undefined ? 'without a path length' : `with path length ${pathLength}`;
  const says = `the request asks for an authority ${found}; ${kind}s have path length ${expected}`;
  ensure(pathLength === expected, CODE, says);
  const usage = extension.readKeyUsage(asked, CODE) ?? new Set();
  const exact = usage.size === USAGE.length && USAGE.every((bit) => usage.has(bit));
  ensure(exact, CODE, 'the request asks for another key usage than signing certificates and CRLs');
  for (const oid of asked.extensions.keys())
    ensure(ASKED.includes(oid), CODE, `the request asks for extension ${oid}, which no authority has`);
}

function trustDomainIn(asked: CertificateRequest): TrustDomain {
  const [name, ...more] = extension.readSubjectAltName(asked, CODE) ?? [];
  ensure(name !== undefined && more.length === 0, CODE, 'the request does not name one trust domain');
  const id = name.kind === NAME.uri ? text(name.value) : '';
  const [, host = ''] = /^spiffe:\/\/([^/]*)$/.exec(id) ?? [];
  ensure(host !== '', CODE, 'the request does not name a trust domain by its SPIFFE ID');
  return parseTrustDomain(host);
}

/** SHA-256 as openssl prints it: pairs of digits with colons. */
export const fingerprintOf = (sha256: Uint8Array): string =>
  hex(asBuffer(sha256))
    .toUpperCase()
    .replace(/..(?!$)/g, '$&:');
