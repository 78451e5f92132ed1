/** Finds an endorsement key of the TPM that has a certificate: one in NV memory, or one in a file. */

import { readPem } from '@chancery/shared/der/pem.ts';
import { asBuffer, concat, equal } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError, isRefusal, type Refusal } from '@chancery/shared/ground/errors.ts';
import { ENDORSEMENT } from '@chancery/shared/tpm/algorithms.ts';
import { readPublicArea, spkiOf } from '@chancery/shared/tpm/public-area.ts';
import { EK_P256, EK_P384, EK_RSA_2048, type Template } from '@chancery/shared/tpm/templates.ts';
import { readTrustedFile } from '@chancery/shared/unix/files/trusted-file.ts';
import { inFile } from '@chancery/shared/unix/files/whole-file.ts';
import { parseManufacturerCertificate } from '@chancery/shared/x509/certificate.ts';
import { ifThere, readCertificate, readChain } from './certificates.ts';
import type { TpmCommands, TpmObject } from './commands.ts';

export interface EndorsementKey extends TpmObject {
  /** X.509 DER. */
  readonly certificate: Uint8Array;
  /** Its issuers, DER, one behind the other; often empty. */
  readonly chain: Uint8Array;
  /** True if its policy authorises it, and not the empty password. */
  readonly byPolicy: boolean;
}

interface Candidate {
  readonly name: string;
  readonly certificateAt: number;
  readonly keyAt: number;
  readonly template: Template;
  readonly byPolicy: boolean;
}

/** Handles of the TCG's registry (TPM 2.0 Handles and Localities, EK Credential Profile 2.2.1.4), in our order. */
const CANDIDATES: readonly Candidate[] = [
  {
    name: 'RSA-2048',
    certificateAt: 0x01c0_0002,
    keyAt: 0x8101_0001,
    template: EK_RSA_2048,
    byPolicy: true,
  },
  { name: 'P-256', certificateAt: 0x01c0_000a, keyAt: 0x8101_0002, template: EK_P256, byPolicy: true },
  { name: 'P-384', certificateAt: 0x01c0_0016, keyAt: 0x8101_0016, template: EK_P384, byPolicy: false },
];

/** Failures of one kind of key, after which another kind may still be good. */
const UNUSABLE: readonly Refusal[] = ['tpm_device', 'certificate_parse'];

/** The first key that exists and matches its certificate. `file` replaces NV memory. Throws tpm_device. */
export async function findEndorsementKey(tpm: TpmCommands, file?: string): Promise<EndorsementKey> {
  const given = file === undefined ? undefined : readCertificateFile(file);
  const reasons: string[] = [];
  for (const candidate of CANDIDATES) {
    try {
      const certificate = given?.certificate ?? (await readCertificate(tpm, candidate.certificateAt));
      if (certificate === undefined) continue;
      const key = await loadKey(tpm, candidate, certificate);
      const chain = given?.chain ?? (await readChain(tpm));
      return { ...key, certificate, chain, byPolicy: candidate.byPolicy };
    } catch (error) {
      if (!isRefusal(error) || !UNUSABLE.includes(error.code)) throw error;
      reasons.push(`${candidate.name}: ${error.message}`);
    }
  }
  const tried = reasons.length > 0 ? ` (${reasons.join('; ')})` : `; ${NONE_HINT}`;
  throw new IdentityError('tpm_device', `the TPM has no supported endorsement certificate${tried}`);
}

const NONE_HINT = 'get it from the manufacturer and name its file: evidence.tpm.ekCertificate';

/** The persistent key if it matches the certificate; else made again from its template. Throws tpm_device. */
async function loadKey(
  tpm: TpmCommands,
  { keyAt, template }: Candidate,
  certificate: Uint8Array,
): Promise<TpmObject> {
  const { spki } = parseManufacturerCertificate(certificate);
  const persistent = await ifThere(tpm.readPublic(keyAt));
  if (persistent !== undefined && isKey(persistent, template, spki)) return persistent;
  const made = await tpm.createPrimary(ENDORSEMENT, template);
  if (isKey(made, template, spki)) return made;
  await tpm.flush(made.handle);
  throw new IdentityError('tpm_device', 'the certificate is for another key than the TPM makes');
}

function isKey({ publicArea }: TpmObject, template: Template, spki: Uint8Array): boolean {
  try {
    return equal(spkiOf(readPublicArea(publicArea, template, 'tpm_device')), spki);
  } catch (error) {
    if (isRefusal(error, 'tpm_device')) return false;
    throw error;
  }
}

const MAX_FILE_BYTES = 256 * 1024;

/** PEM, the endorsement key's first and its issuers behind it; or one certificate in DER. */
function readCertificateFile(path: string): Pick<EndorsementKey, 'certificate' | 'chain'> {
  return inFile(`ekCertificate: ${path}`, 'tpm_device', () => {
    const bytes = readTrustedFile(path, { maxBytes: MAX_FILE_BYTES, code: 'tpm_device' });
    const pem =
      bytes[0] === 0x30 ? [bytes] : readPem(asBuffer(bytes).toString('latin1'), 'CERTIFICATE', 'file');
    const [certificate, ...issuers] = pem;
    ensure(certificate !== undefined, 'tpm_device', 'no certificate');
    for (const each of pem) parseManufacturerCertificate(each);
    return { certificate, chain: concat(...issuers) };
  });
}
