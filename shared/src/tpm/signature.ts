/** TPMT_SIGNATURE (Part 2, 11.3.4) by a P-256 key with ECDSA and SHA-256; nothing else is read. */
import { concat, Reader } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { ALG } from './algorithms.ts';

const SCALAR_BYTES = 32;

/** Returns r and s joined, 32 bytes each (IEEE P1363). Throws sig_alg, sig_invalid. */
export function readSignature(bytes: Uint8Array): Uint8Array {
  const reader = new Reader(bytes, 'sig_invalid');
  const algorithm = reader.u16('signature algorithm');
  ensure(algorithm === ALG.ecdsa, 'sig_alg', `signature algorithm ${algorithm.toString(16)} is not ECDSA`);
  const hash = reader.u16('signature hash');
  ensure(hash === ALG.sha256, 'sig_alg', `signature hash ${hash.toString(16)} is not SHA-256`);
  const r = readScalar(reader, 'r');
  const s = readScalar(reader, 's');
  reader.done('signature');
  return concat(r, s);
}

/** Padded to the field's size: a TPM may omit leading zeros. A scalar of 0 never verifies. */
function readScalar(reader: Reader, what: string): Uint8Array {
  const scalar = reader.sized16(what, SCALAR_BYTES);
  return concat(new Uint8Array(SCALAR_BYTES - scalar.length), scalar);
}
