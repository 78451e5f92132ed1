/** Changes to length-prefixed fields (shared/src/evidence/fields.ts), with lengths put right again. */
import { concat, lp } from '@chancery/shared/ground/bytes.ts';
import { BLIND, type Change } from './blind.ts';

export const changeFields: Change = (input, other, random) => {
  const [mine, theirs] = [cut(input), cut(other)];
  const fields = [...mine];
  const at = random.int(Math.max(1, fields.length));
  const borrowed = theirs[random.int(Math.max(1, theirs.length))] ?? new Uint8Array();
  const how = random.int(5);
  if (how === 0) fields.splice(at, 1);
  else if (how === 1) fields.splice(at, 0, borrowed);
  else if (how === 2) fields.splice(at, 1, borrowed);
  else fields.splice(at, 1, random.pick(BLIND)(fields[at] ?? new Uint8Array(), borrowed, random));
  return concat(input.subarray(0, 1), ...fields.map(lp));
};

/** What is left over is a field of its own. */
function cut(bytes: Uint8Array): readonly Uint8Array[] {
  const fields: Uint8Array[] = [];
  let at = 1;
  while (at + 4 <= bytes.length) {
    const length = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).readUInt32BE(at);
    if (at + 4 + length > bytes.length) break;
    fields.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return at < bytes.length ? [...fields, bytes.subarray(at)] : fields;
}
