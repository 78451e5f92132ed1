/** Makes proofs from the tiles of a log, reading those that a proof needs and no others. */
import { ensure } from '../ground/errors.ts';
import { hashOfComplete, rootOfSubtrees } from './hash.ts';
import { consistencyRanges, inclusionRanges, type Range, type Subtree, subtreesOf } from './ranges.ts';
import { hashesOfTile, TILE_WIDTH, type TileName, tileOf } from './tile.ts';

/** Gives the bytes of a tile, with as many hashes as its name says. Throws what its source throws. */
export type ReadTile = (name: TileName) => Promise<Uint8Array>;

/** A tree of this size in these tiles. What is read is not verified: verify the proof that comes of it. */
export interface Tree {
  readonly size: number;
  readonly read: ReadTile;
}

/** From the sibling of the leaf to the child of the root. Throws tlog if there is no such entry. */
export async function proveInclusion(index: number, tree: Tree): Promise<readonly Uint8Array[]> {
  const { size } = tree;
  const exists = Number.isSafeInteger(index) && index >= 0 && index < size;
  ensure(exists, 'tlog', `there is no entry ${index}: the log has ${size}, from 0 on`);
  return hashesOf(inclusionRanges(index, size), tree);
}

/** That the first `size1` entries of the tree are a tree of their own. Throws tlog for more than it has, and none. */
export async function proveConsistency(size1: number, tree: Tree): Promise<readonly Uint8Array[]> {
  const isPart = Number.isSafeInteger(size1) && size1 > 0 && size1 <= tree.size;
  ensure(isPart, 'tlog', `a tree of ${tree.size} entries does not contain one of ${size1}`);
  return size1 === tree.size ? [] : hashesOf(consistencyRanges(size1, tree.size), tree);
}

async function hashesOf(ranges: readonly Range[], tree: Tree): Promise<readonly Uint8Array[]> {
  const tiles = new Map<string, Promise<readonly Uint8Array[]>>();
  const once = (name: TileName): Promise<readonly Uint8Array[]> => {
    const key = `${name.level}/${name.index}`;
    const known = tiles.get(key) ?? tree.read(name).then((bytes) => hashesOfTile(bytes, name));
    tiles.set(key, known);
    return known;
  };
  const hashOf = async (subtree: Subtree) => subtreeHash(subtree, tree.size, once);
  return Promise.all(
    ranges.map(async (range) => rootOfSubtrees(await Promise.all(subtreesOf(range).map(hashOf)))),
  );
}

async function subtreeHash(
  { height, index }: Subtree,
  size: number,
  read: (name: TileName) => Promise<readonly Uint8Array[]>,
): Promise<Uint8Array> {
  const level = Math.floor(height / 8);
  const count = 2 ** (height - level * 8);
  const hashes = await read(tileOf(level, index * count, size));
  const from = (index * count) % TILE_WIDTH;
  return hashOfComplete(hashes.slice(from, from + count));
}
