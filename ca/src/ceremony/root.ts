/** The certificate of a root, as a file that comes from another machine. */
import { writePem } from '@chancery/shared/der/pem.ts';
import { equal, hex } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { algorithmOf, type KeyAlgorithm } from '@chancery/shared/keys/key.ts';
import { parseTrustDomain, type TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { isSignedBy } from '@chancery/shared/x509/algorithm.ts';
import { type Certificate, parseCertificate, publicKeyOf } from '@chancery/shared/x509/certificate.ts';
import { lintAuthority } from '@chancery/shared/x509/compose/lint.ts';
import { readSubjectAltName } from '@chancery/shared/x509/extensions.ts';
import { text } from '@chancery/shared/x509/names.ts';
import { PATH_LENGTH } from '../authority/profile.ts';
import { oneBlock } from './block.ts';

const LABEL = 'CERTIFICATE';
const CODE = 'authority_answer';

/** A root that has signed itself, and says what our roots say. */
export interface RootFile {
  readonly certificate: Certificate;
  readonly trustDomain: TrustDomain;
  /** Hexadecimal. */
  readonly serial: string;
  readonly algorithm: KeyAlgorithm;
}

/** PEM, as `readRoot` takes it. */
export const writeCertificate = (der: Uint8Array): string => writePem(LABEL, der);

/** Throws authority_answer, certificate_parse, lint. Whether it is valid now the caller looks. */
export function readRoot(bytes: Uint8Array): RootFile {
  const certificate = parseCertificate(oneBlock(bytes, LABEL, CODE));
  const { tbs, spki, signature, signatureAlgorithm } = certificate;
  const isOwn = equal(certificate.issuer, certificate.subject);
  ensure(isOwn, CODE, 'the certificate is not that of a root: another authority has issued it');
  const names = readSubjectAltName(certificate, CODE) ?? [];
  const [, host = ''] = /^spiffe:\/\/([^/]*)$/.exec(names.map(({ value }) => text(value)).join(' ')) ?? [];
  ensure(host !== '', CODE, 'the certificate names no trust domain: it is no root of Chancery');
  const trustDomain = parseTrustDomain(host);
  lintAuthority(tbs, { issuer: undefined, trustDomain, spki, pathLength: PATH_LENGTH.root });
  const signed = isSignedBy(
    { algorithm: signatureAlgorithm, data: tbs, signature },
    publicKeyOf(certificate),
  );
  ensure(signed, CODE, 'the root is not signed by its own key');
  const algorithm = algorithmOf(spki);
  ensure(algorithm !== undefined, CODE, 'the key of the root is not on P-256 or P-384');
  return { certificate, trustDomain, serial: hex(certificate.serial), algorithm };
}
