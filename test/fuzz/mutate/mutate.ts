/** One input of another: up to eight small changes, half of them by the shape that inputs have, half of them blind. */
import type { Random } from '../../kit/random.ts';
import { BLIND, type Change, grow } from './blind.ts';
import { changeDer } from './der-tree.ts';
import { changeFields } from './fields.ts';
import { changeJson, changeJwt } from './json-tokens.ts';

const SHAPED = {
  bytes: undefined,
  /** One DER element, or several in a row: lengths are put right again. */
  der: changeDer,
  /** A version and length-prefixed fields (shared/src/evidence/fields.ts). */
  fields: changeFields,
  /** JSON, or any text made of words, numbers and punctuation. */
  json: changeJson,
  /** Three parts in base64url; header and claims are changed as JSON. */
  jwt: changeJwt,
} as const satisfies Record<string, Change | undefined>;

export type Shape = keyof typeof SHAPED;

export interface Mutation {
  readonly shape: Shape;
  readonly maxBytes: number;
  readonly random: Random;
}

const MAX_CHANGES = 8;
/** So often one input in so many is made as long as may be: that is what shows quadratic work, and takes its time. */
const GROWN = 200;

export function mutate(
  input: Uint8Array,
  other: Uint8Array,
  { shape, maxBytes, random }: Mutation,
): Uint8Array {
  let changed = input;
  for (let left = 1 + random.int(random.int(MAX_CHANGES) + 1); left > 0; left -= 1) {
    const shaped = SHAPED[shape];
    const change = shaped !== undefined && random.int(4) > 0 ? shaped : random.pick(BLIND);
    changed = change(changed, other, random);
  }
  if (random.int(GROWN) === 0) changed = grow(changed, maxBytes, random);
  return changed.length > maxBytes ? changed.subarray(0, maxBytes) : changed;
}
