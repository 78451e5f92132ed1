/** Certificates of endorsement keys, and their issuers, in a TPM's NV memory. */

import { MAX_EK_CHAIN } from '@chancery/shared/evidence/tpm.ts';
import { asBuffer, concat } from '@chancery/shared/ground/bytes.ts';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { TpmCommands } from './commands.ts';

/** TCG EK Credential Profile 2.5, section 2.2.1.5: the chain, in pieces, joined in ascending order. */
const CHAIN_FIRST = 0x01c0_0100;
const CHAIN_LAST = 0x01c0_01ff;
/** As many as the CA reads. */
const MAX_ISSUERS = 8;

/** Every TPM reads 512 bytes at a time; more is an option. */
const NV_CHUNK = 512;
const MAX_CERTIFICATE = 8 * 1024;

/** The certificate at this index; undefined if there is no index, or nothing was written to it. */
export async function readCertificate(tpm: TpmCommands, index: number): Promise<Uint8Array | undefined> {
  const bytes = await readIndex(tpm, index);
  return bytes === undefined || isBlank(bytes) ? undefined : cutDer(bytes);
}

/**
 * The issuers in the TPM (Intel's on-die CA), concatenated; empty if there are none. They only help the CA to find a
 * path, so unreadable ones are left out.
 */
export async function readChain(tpm: TpmCommands): Promise<Uint8Array> {
  try {
    const pieces: Uint8Array[] = [];
    for (const index of await tpm.nvIndices(CHAIN_FIRST, CHAIN_LAST))
      pieces.push((await readIndex(tpm, index)) ?? new Uint8Array());
    const chain = concat(...cutChain(concat(...pieces)).slice(0, MAX_ISSUERS));
    return chain.length <= MAX_EK_CHAIN ? chain : new Uint8Array();
  } catch (error) {
    if (isRefusal(error, 'tpm_device')) return new Uint8Array();
    throw error;
  }
}

async function readIndex(tpm: TpmCommands, index: number): Promise<Uint8Array | undefined> {
  const area = await ifThere(tpm.nvPublic(index));
  if (area === undefined || !area.written) return undefined;
  const { size } = area;
  ensure(size <= MAX_CERTIFICATE, 'tpm_device', `NV index ${index.toString(16)} holds ${size} bytes`);
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += NV_CHUNK)
    bytes.set(await tpm.nvRead(area, Math.min(NV_CHUNK, size - at), at), at);
  return bytes;
}

const isBlank = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0 || byte === 0xff);

/** TCG PC Client Specific Implementation 1.21, section 7.4.1: TCG_PCCLIENT_STORED_CERT, in it TCG_FULL_CERT. */
const STORED_CERT = '100100';
const FULL_CERT = '1002';

/** An index may have a header before the certificate and may be longer than both. */
export function cutDer(bytes: Uint8Array): Uint8Array {
  const whole = asBuffer(bytes);
  const stored = whole.toString('hex', 0, 3) === STORED_CERT ? 5 : 0;
  const full = stored > 0 && whole.toString('hex', stored, stored + 2) === FULL_CERT ? 2 : 0;
  const der = whole.subarray(stored + full);
  const length = derLength(der);
  ensure(length !== undefined, 'tpm_device', 'the endorsement certificate in NV memory is not DER');
  ensure(length <= der.length, 'tpm_device', 'the endorsement certificate in NV memory is cut short');
  return der.subarray(0, length);
}

/** Certificates one behind the other; each piece of NV memory may end in filling. */
export function cutChain(bytes: Uint8Array): readonly Uint8Array[] {
  const certificates: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length) {
    const rest = asBuffer(bytes).subarray(at);
    const length = isFilling(rest[0]) ? 1 : derLength(rest);
    if (length === undefined || length > rest.length) break;
    if (!isFilling(rest[0])) certificates.push(rest.subarray(0, length));
    at += length;
  }
  return certificates;
}

const isFilling = (byte: number | undefined): boolean => byte === 0 || byte === 0xff;

/** The length of a SEQUENCE of 256 bytes or more, which every certificate is. */
function derLength(bytes: Buffer): number | undefined {
  return bytes.length > 4 && bytes.readUInt16BE(0) === 0x3082 ? 4 + bytes.readUInt16BE(2) : undefined;
}

/** Undefined if the TPM has nothing at that handle. If the TPM does not answer at all, the next command fails. */
export async function ifThere<T>(value: Promise<T>): Promise<T | undefined> {
  try {
    return await value;
  } catch (error) {
    if (isRefusal(error, 'tpm_device')) return undefined;
    throw error;
  }
}
