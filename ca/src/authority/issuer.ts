/** An authority in the act of signing leaves. */
import type { Signer } from '@chancery/shared/keys/key.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { keyIdentifierOf } from '@chancery/shared/x509/extensions.ts';
import type { AuthorityRecord } from '../store/store.ts';
import { crlUrlOf, type LeafTemplate, leafTemplate } from './profile.ts';
import { ensureKeyOf } from './records.ts';

/** A certificate and its key, ready to sign. */
export interface Issuer {
  readonly serial: string;
  readonly certificate: Certificate;
  readonly signer: Signer;
  readonly template: LeafTemplate;
  /** Where its CRL is, as its certificates say; undefined if they say nothing. */
  readonly crlUrl: string | undefined;
  /** X.509 DER from the issuer up, without the root. */
  readonly chain: readonly Uint8Array[];
}

/** `crlBase` is where the CRLs of this CA are. Throws key_wrong if the key is not that of the record. */
export function issuerOf(record: AuthorityRecord, signer: Signer, crlBase: string | undefined): Issuer {
  ensureKeyOf(record, signer);
  const certificate = parseCertificate(record.certificate);
  const crlUrl = crlUrlOf(crlBase, record.serial);
  const template = leafTemplate(certificate, keyIdentifierOf(certificate.spki, 'certificate_parse'), crlUrl);
  return { serial: record.serial, certificate, signer, template, crlUrl, chain: [record.certificate] };
}
