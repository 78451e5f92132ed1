/**
 * The tree of the entries that the log was pruned of, as the database keeps it: at most 255 hashes of a level. With it
 * and the entries that are kept, all files of the log can be written again.
 */
import { asBuffer, hex } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { HASH_BYTES } from '@chancery/shared/tlog/hash.ts';
import { Tail } from '@chancery/shared/tlog/tail.ts';
import { TILE_WIDTH } from '@chancery/shared/tlog/tile.ts';

const LEVELS = /^([0-9a-f]*\n)*$/;

/** The hashes of each level in hexadecimal, a line each. */
export const textOfTail = (tail: Tail): string =>
  Array.from({ length: tail.levels }, (_, level) => `${hex(Buffer.concat(tail.last(level)))}\n`).join('');

/** Of a tree with `size` entries. Whether it is the right one is what the signed root says. Throws tlog. */
export function tailOfText(size: number, text: string): Tail {
  ensure(LEVELS.test(text), 'tlog', 'what the database has of the pruned entries is damaged');
  const levels = text
    .split('\n')
    .slice(0, -1)
    .map((line) => asBuffer(Buffer.from(line, 'hex')));
  return new Tail(size, levels.map(hashesOf));
}

function hashesOf(bytes: Buffer): readonly Uint8Array[] {
  const count = bytes.length / HASH_BYTES;
  ensure(Number.isInteger(count) && count < TILE_WIDTH, 'tlog', 'a level of the pruned entries is damaged');
  return Array.from({ length: count }, (_, n) => bytes.subarray(n * HASH_BYTES, (n + 1) * HASH_BYTES));
}
