/** Finds the TPM's endorsement key and the certificate that its manufacturer left in NV memory. */
import { asBuffer, equal } from '@chancery/shared/bytes.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/errors.ts';
import { ENDORSEMENT } from '@chancery/shared/tpm/algorithms.ts';
import { readPublicArea, spkiOf } from '@chancery/shared/tpm/public-area.ts';
import { EK_P256, EK_P384, EK_RSA_2048, type Template } from '@chancery/shared/tpm/templates.ts';
import { parseManufacturerCertificate } from '@chancery/shared/x509/certificate.ts';
import type { TpmCommands, TpmObject } from './commands.ts';

export interface EndorsementKey extends TpmObject {
  /** X.509 DER. */
  readonly certificate: Uint8Array;
  /** True where the empty password does not authorise it, and its policy must. */
  readonly byPolicy: boolean;
}

/** Handles of the TCG's registry (TPM 2.0 Handles and Localities, EK Credential Profile 2.2.1.4), in our order. */
const CANDIDATES = [
  { certificateAt: 0x01c0_0002, keyAt: 0x8101_0001, template: EK_RSA_2048, byPolicy: true },
  { certificateAt: 0x01c0_000a, keyAt: 0x8101_0002, template: EK_P256, byPolicy: true },
  { certificateAt: 0x01c0_0016, keyAt: 0x8101_0016, template: EK_P384, byPolicy: false },
] as const;

/** Every TPM reads 512 bytes at a time; more is an option. */
const NV_CHUNK = 512;
const MAX_CERTIFICATE = 8 * 1024;

/** The first that has a certificate. Throws tpm_device. */
export async function findEndorsementKey(tpm: TpmCommands): Promise<EndorsementKey> {
  for (const { certificateAt, keyAt, template, byPolicy } of CANDIDATES) {
    const size = await ifThere(tpm.nvSize(certificateAt));
    if (size === undefined) continue;
    const certificate = cutDer(await readNv(tpm, certificateAt, size));
    return { ...(await loadKey(tpm, keyAt, template, certificate)), certificate, byPolicy };
  }
  throw new IdentityError('tpm_device', 'the TPM has no supported endorsement certificate');
}

async function readNv(tpm: TpmCommands, index: number, size: number): Promise<Uint8Array> {
  ensure(size <= MAX_CERTIFICATE, 'tpm_device', `NV index ${index.toString(16)} holds ${size} bytes`);
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += NV_CHUNK)
    bytes.set(await tpm.nvRead(index, Math.min(NV_CHUNK, size - at), at), at);
  return bytes;
}

/** The persistent key where it is the certificate's; made anew from its template where it is not there. */
async function loadKey(
  tpm: TpmCommands,
  handle: number,
  template: Template,
  certificate: Uint8Array,
): Promise<TpmObject> {
  const { spki } = parseManufacturerCertificate(certificate);
  const persistent = await ifThere(tpm.readPublic(handle));
  if (persistent !== undefined && isKey(persistent, template, spki)) return persistent;
  return tpm.createPrimary(ENDORSEMENT, template);
}

function isKey({ publicArea }: TpmObject, template: Template, spki: Uint8Array): boolean {
  try {
    return equal(spkiOf(readPublicArea(publicArea, template, 'tpm_device')), spki);
  } catch (error) {
    if (isRefusal(error, 'tpm_device')) return false;
    throw error;
  }
}

/** A certificate's NV index may be longer than the certificate. */
export function cutDer(bytes: Uint8Array): Uint8Array {
  const header = asBuffer(bytes);
  const isDer = bytes.length > 4 && header.readUInt16BE(0) === 0x3082;
  ensure(isDer, 'tpm_device', 'the endorsement certificate in NV memory is not DER');
  return bytes.subarray(0, 4 + header.readUInt16BE(2));
}

/** Undefined where the TPM has nothing at that handle; a TPM that does not answer at all fails the next command. */
async function ifThere<T>(value: Promise<T>): Promise<T | undefined> {
  try {
    return await value;
  } catch (error) {
    if (isRefusal(error, 'tpm_device')) return undefined;
    throw error;
  }
}
