/** Files that people carry between machines: PEM and nothing else, of a bounded size. */
import { readPemOnly } from '@chancery/shared/der/pem.ts';
import { utf8Text } from '@chancery/shared/ground/bytes.ts';
import { ensure, type Refusal } from '@chancery/shared/ground/errors.ts';

/** A certificate with its chain, or a request, is a tenth of this. */
export const MAX_FILE_BYTES = 64 * 1024;

/** The blocks of a file, at least one and at most `most`. Throws the code. */
export function blocksOf(bytes: Uint8Array, label: string, most: number, code: Refusal): Uint8Array[] {
  const says = `the file has ${bytes.length} bytes, at most ${MAX_FILE_BYTES} are expected`;
  ensure(bytes.length <= MAX_FILE_BYTES, code, says);
  const blocks = readPemOnly(utf8Text(bytes, code), label, code);
  ensure(
    blocks.length <= most,
    code,
    `the file has ${blocks.length} PEM blocks, at most ${most} are expected`,
  );
  return blocks;
}

/** The only block of a file. Throws the code. */
export function oneBlock(bytes: Uint8Array, label: string, code: Refusal): Uint8Array {
  const [block = new Uint8Array()] = blocksOf(bytes, label, 1, code);
  return block;
}

/** The label of the first block, by which one kind of file is told from another; empty if there is none. */
export function labelOf(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.subarray(0, MAX_FILE_BYTES)).toString('latin1');
  return /^-----BEGIN ([A-Z0-9 #]+)-----/.exec(text)?.[1] ?? '';
}
