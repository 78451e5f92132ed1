/**
 * Where hashes and entries of a log are kept: C2SP tlog-tiles. A tile has 256 hashes of one level, or fewer if it is
 * the last of its level; a hash of level 1 and above is that of a full tile of the level below.
 */
import { ensure } from '../ground/errors.ts';
import { HASH_BYTES } from './hash.ts';

export const TILE_WIDTH = 256;

/** How many entries are pruned together: those of a full tile of level 1. */
export const PRUNED_TOGETHER = TILE_WIDTH ** 2;

export interface TileName {
  /** Of the hashes: 0 for those of entries. `entries` is a bundle of entries themselves. */
  readonly level: number | 'entries';
  /** Which tile of its level, from 0. */
  readonly index: number;
  /** 256 for a full tile, else less. */
  readonly width: number;
}

/** Relative to the prefix of the log: `tile/<L>/<N>[.p/<W>]`. */
export function tilePath({ level, index, width }: TileName): string {
  const partial = width === TILE_WIDTH ? '' : `.p/${width}`;
  return `tile/${level}/${indexPath(index)}${partial}`;
}

/** The folder with the partial forms of a tile. */
export const partialFolder = ({ level, index }: Pick<TileName, 'level' | 'index'>): string =>
  `tile/${level}/${indexPath(index)}.p`;

/** Three digits a folder, so that no folder has more than 1000 names: 1234067 is `x001/x234/067`. */
function indexPath(index: number): string {
  const digits = `${index}`;
  const padded = digits.padStart(Math.ceil(digits.length / 3) * 3, '0');
  const parts = padded.match(/\d{3}/g) ?? [];
  return parts.map((part, at) => (at < parts.length - 1 ? `x${part}` : part)).join('/');
}

/** How many hashes of this level a tree of this size has: those of full tiles of the level below. */
export const hashesAt = (level: number, size: number): number => Math.floor(size / TILE_WIDTH ** level);

/** The tiles of one level that are new or wider in a tree of `size` entries than in one of `before`. */
export function newTiles(level: number, before: number, size: number): readonly TileName[] {
  const [had, has] = [hashesAt(level, before), hashesAt(level, size)];
  const tiles: TileName[] = [];
  if (has === had) return tiles;
  for (let index = Math.floor(had / TILE_WIDTH); index * TILE_WIDTH < has; index += 1)
    tiles.push({ level, index, width: Math.min(TILE_WIDTH, has - index * TILE_WIDTH) });
  return tiles;
}

/** The tile with hash `at` of a level in a tree of `size` entries, as wide as it is there. */
export function tileOf(level: number, at: number, size: number): TileName {
  const index = Math.floor(at / TILE_WIDTH);
  return { level, index, width: Math.min(TILE_WIDTH, hashesAt(level, size) - index * TILE_WIDTH) };
}

/** Views of its hashes. Throws tlog unless there are as many as it must have. */
export function hashesOfTile(bytes: Uint8Array, name: TileName): readonly Uint8Array[] {
  const expected = name.width * HASH_BYTES;
  ensure(
    bytes.length === expected,
    'tlog',
    `${tilePath(name)} has ${bytes.length} bytes; ${expected} are expected`,
  );
  return Array.from({ length: name.width }, (_, at) =>
    bytes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES),
  );
}

/** The longest entry: its length is written with two bytes. */
export const MAX_ENTRY_BYTES = 0xffff;

/** A bundle: each entry after its length. Throws tlog for an entry that is too long. */
export function writeBundle(entries: readonly Uint8Array[]): Uint8Array {
  const bytes = Buffer.allocUnsafe(entries.reduce((sum, { length }) => sum + 2 + length, 0));
  let at = 0;
  for (const entry of entries) {
    ensure(
      entry.length <= MAX_ENTRY_BYTES,
      'tlog',
      `an entry has ${entry.length} bytes, at most ${MAX_ENTRY_BYTES}`,
    );
    at = bytes.writeUInt16BE(entry.length, at);
    bytes.set(entry, at);
    at += entry.length;
  }
  return bytes;
}

export interface ReadBundle {
  /** Views of those that could be read. */
  readonly entries: readonly Uint8Array[];
  /** What is wrong after them; undefined if nothing is. */
  readonly problem: string | undefined;
}

/** Reads as many entries as the name says, or as there are. */
export function readBundle(bytes: Uint8Array, name: TileName): ReadBundle {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entries: Uint8Array[] = [];
  let at = 0;
  while (entries.length < name.width) {
    const end = at + 2 <= bytes.length ? at + 2 + view.getUint16(at) : Number.POSITIVE_INFINITY;
    if (end > bytes.length) return { entries, problem: `${tilePath(name)} ends early` };
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  const left = bytes.length - at;
  const problem = left === 0 ? undefined : `${tilePath(name)} has ${left} bytes after its last entry`;
  return { entries, problem };
}
