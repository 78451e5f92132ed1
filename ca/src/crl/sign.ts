/** Makes one CRL: written, read again, signed. */
import { equal } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Signer } from '@chancery/shared/keys/key.ts';
import { lintCrl, writeCrlTbs } from '@chancery/shared/x509/compose/crl.ts';
import { assembleCertificate } from '@chancery/shared/x509/compose/tbs.ts';
import { keyIdentifierOf } from '@chancery/shared/x509/extensions.ts';
import { type CrlIssuer, crlNumber, type Entries } from './issuers.ts';

/** A list as it is published. */
export interface MadeCrl extends CrlIssuer {
  readonly der: Uint8Array;
  readonly number: bigint;
  readonly entries: Entries;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
}

export interface CrlDraft {
  readonly issuer: CrlIssuer;
  readonly entries: Entries;
  /** Of the revocations that the entries are of. */
  readonly sequence: bigint;
  /** The number of the list of this issuer before; undefined for the first of this process. */
  readonly before: bigint | undefined;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
}

/** `signer` has the key of the issuer. Throws lint, key_wrong, and what the key throws. */
export async function signCrl(draft: CrlDraft, signer: Signer): Promise<MadeCrl> {
  const { issuer, entries, sequence, before, thisUpdate, nextUpdate } = draft;
  const number = crlNumber(sequence, thisUpdate, before);
  const { certificate } = issuer;
  ensure(
    equal(signer.spki, certificate.spki),
    'key_wrong',
    `the key of authority ${issuer.serial} is another one`,
  );
  const fields = {
    issuer: certificate.subject,
    keyId: keyIdentifierOf(certificate.spki, 'certificate_parse'),
    number,
    thisUpdate,
    nextUpdate,
  };
  const { algorithm } = signer;
  const tbs = writeCrlTbs({ ...fields, entries: entries.bytes }, algorithm);
  lintCrl(tbs, { ...fields, count: entries.count, algorithm });
  const der = assembleCertificate(tbs, algorithm, await signer.sign(tbs));
  return { ...issuer, der, number, entries, thisUpdate, nextUpdate };
}
