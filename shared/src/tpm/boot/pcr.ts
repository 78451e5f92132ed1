/** Platform configuration registers: the SHA-256 bank's selection, and the digest over values. */
import { hash } from 'node:crypto';
import { concat, type Reader, u8, u16, u32 } from '../../ground/bytes.ts';
import { ALG } from '../algorithms.ts';

/** SHA-256. */
export const PCR_BYTES = 32;
/** PC Client Platform TPM Profile, section 4.6: 24 registers, three bytes of selection. */
const PCR_COUNT = 24;
const SELECT_BYTES = PCR_COUNT / 8;

/** TPML_PCR_SELECTION (Part 2, 10.9.7) of the SHA-256 bank. */
export function writeSelection(indices: readonly number[]): Uint8Array {
  return concat(u32(1), u16(ALG.sha256), u8(SELECT_BYTES), bitmapOf(indices));
}

/** Part 2, 10.6.2: register n is bit n % 8 of byte n / 8. */
function bitmapOf(indices: readonly number[]): Uint8Array {
  const bitmap = new Uint8Array(SELECT_BYTES);
  for (const index of indices) bitmap[index >> 3] = (bitmap[index >> 3] ?? 0) | (1 << (index & 7));
  return bitmap;
}

/** Reads a TPML_PCR_SELECTION of any banks and returns its bytes, which are compared and not interpreted. */
export function cutSelection(reader: Reader): Uint8Array {
  const start = reader.offset;
  const banks = reader.u32('PCR banks');
  for (let bank = 0; bank < banks; bank++) {
    reader.u16('PCR bank');
    reader.take(reader.u8('PCR bitmap size'), 'PCR bitmap');
  }
  return reader.bytes.subarray(start, reader.offset);
}

/** The digest that TPM2_Quote signs (Part 3, 18.4), over the values joined in ascending order of index. */
export function pcrDigest(values: Uint8Array): Uint8Array {
  return hash('sha256', values, 'buffer');
}
