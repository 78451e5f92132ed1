/**
 * The kernel's resource manager, /dev/tpmrm0: one write is one command, then its response is read. Objects and
 * sessions belong to the open file and go with it. Never /dev/tpm0, which shares the slots with everyone.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { ensure, IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import { MAX_RESPONSE_BYTES, ResponseAssembler } from './response.ts';
import type { TpmTransport } from './transport.ts';

/** Throws tpm_device. */
export async function openTpmFile(path: string): Promise<TpmTransport> {
  const file = await openDevice(path);
  const response = new ResponseAssembler();
  return {
    async exchange(command) {
      try {
        return await exchange(file, command, response);
      } catch (error) {
        throw refusalOf(error, 'tpm_device', `${path} broke off`);
      }
    },
    // A read in the driver cannot be cut short; the file closes behind it.
    destroy: () => void file.close().catch(() => {}),
  };
}

async function openDevice(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDWR);
  } catch (error) {
    const hint = 'is the agent in the group tss, and is there a TPM?';
    throw new IdentityError('tpm_device', `${path} cannot be opened: ${hint}`, { cause: error });
  }
}

async function exchange(
  file: FileHandle,
  command: Uint8Array,
  response: ResponseAssembler,
): Promise<Uint8Array> {
  await file.write(command, 0, command.length, null);
  const buffer = new Uint8Array(MAX_RESPONSE_BYTES);
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
    ensure(bytesRead > 0, 'tpm_device', 'the TPM ended its response early');
    const whole = response.push(buffer.subarray(0, bytesRead));
    if (whole !== undefined) return whole;
  }
}
