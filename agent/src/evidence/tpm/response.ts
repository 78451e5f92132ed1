/** Joins a TPM's response, which may arrive in pieces. Its header has its length. */
import { asBuffer, concat } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';

/** PC Client Platform TPM Profile: TPM_PT_MAX_RESPONSE_SIZE is 4096. */
export const MAX_RESPONSE_BYTES = 4096;
const SIZE_OFFSET = 2;
const SIZE_END = 6;

/** Joins the pieces of a TPM's responses, one response after the other, for one transport. */
export class ResponseAssembler {
  #bytes: Uint8Array = new Uint8Array();

  /** The whole response, once it is complete. Throws tpm_device if the device sends more. */
  push(piece: Uint8Array): Uint8Array | undefined {
    this.#bytes = concat(this.#bytes, piece);
    if (this.#bytes.length < SIZE_END) return undefined;
    const size = asBuffer(this.#bytes).readUInt32BE(SIZE_OFFSET);
    ensure(size <= MAX_RESPONSE_BYTES, 'tpm_device', `the TPM announces a response of ${size} bytes`);
    ensure(this.#bytes.length <= size, 'tpm_device', `the TPM said more than its response of ${size} bytes`);
    if (this.#bytes.length < size) return undefined;
    const whole = this.#bytes;
    this.#bytes = new Uint8Array();
    return whole;
  }
}
