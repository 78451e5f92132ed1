/**
 * What several platforms say or are asked in one exchange over one nonce: a list in the order of their names. What one
 * platform alone says is not packed.
 */
import { concat, u8 } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { packFields, unpackFields } from './fields.ts';

/** Before each piece, so that no piece and an empty one differ. */
const PRESENT = u8(1);
/** Of one platform, and of several together. */
export const MAX_EVIDENCE_BYTES = 2 * 1024 * 1024;

/** One for each platform; undefined if it says nothing. */
export type Pieces = readonly (Uint8Array | undefined)[];

/** Bytes for the wire, which `unpackPieces` reads. */
export function packPieces(pieces: Pieces): Uint8Array {
  return packFields(...pieces.map((each) => (each === undefined ? new Uint8Array() : concat(PRESENT, each))));
}

/** Views of `bytes`. Throws evidence_parse. */
export function unpackPieces(bytes: Uint8Array, names: readonly string[]): Pieces {
  const fields = names.map((what) => ({
    what,
    maxBytes: MAX_EVIDENCE_BYTES,
    code: 'evidence_parse' as const,
  }));
  return unpackFields(bytes, fields).map((field, index) => {
    if (field.length === 0) return undefined;
    ensure(field[0] === PRESENT[0], 'evidence_parse', `${names[index]} begins with byte ${field[0]}, not 1`);
    return field.subarray(1);
  });
}
