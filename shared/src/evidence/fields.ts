/** How evidence is packed: a version byte, then length-prefixed fields in a fixed order, each with a bound. */
import { concat, lp, Reader, u8 } from '../ground/bytes.ts';
import { ensure, type Refusal } from '../ground/errors.ts';

const VERSION = 1;

export interface Field {
  readonly what: string;
  readonly maxBytes: number;
  /** The refusal of a longer one. */
  readonly code: Refusal;
}

/** Bytes for the wire, which `unpackFields` reads. Checks no bound. */
export function packFields(...fields: readonly Uint8Array[]): Uint8Array {
  return concat(u8(VERSION), ...fields.map(lp));
}

/** Views of `bytes`, one for each field. Throws evidence_parse, or a field's own code where it is too long. */
export function unpackFields(bytes: Uint8Array, fields: readonly Field[]): readonly Uint8Array[] {
  const reader = new Reader(bytes, 'evidence_parse');
  const version = reader.u8('version');
  ensure(version === VERSION, 'evidence_parse', `evidence has version ${version}, ${VERSION} is read`);
  const values = fields.map(({ what, maxBytes, code }) => {
    const length = reader.u32(what);
    ensure(length <= maxBytes, code, `${what} is ${length} bytes, at most ${maxBytes} are read`);
    return reader.take(length, what);
  });
  reader.done('evidence');
  return values;
}
