/**
 * The growing end of a tree: the hashes of the last tile of each level, where that is not full. With it a tree grows
 * and has a root, whatever its size, without reading what is full.
 */
import { hashOfComplete, rootOfSubtrees } from './hash.ts';
import { subtreesOf } from './ranges.ts';
import { hashesAt, TILE_WIDTH } from './tile.ts';

/** A tile that became full. */
export interface FullTile {
  readonly level: number;
  readonly index: number;
  readonly hashes: readonly Uint8Array[];
}

/** Begins as the tree of `size` entries, whose last tiles have these hashes, by level; or as the empty tree. */
export class Tail {
  #size: number;
  readonly #levels: Uint8Array[][];

  constructor(size = 0, levels: readonly (readonly Uint8Array[])[] = []) {
    this.#size = size;
    this.#levels = levels.map((hashes) => [...hashes]);
  }

  /** How many entries the tree has. */
  get size(): number {
    return this.#size;
  }

  /** A copy that grows by itself. */
  copy(): Tail {
    return new Tail(this.#size, this.#levels);
  }

  /** The hashes of the last tile of a level that is not full; none if the last one is. */
  last(level: number): readonly Uint8Array[] {
    return this.#levels[level] ?? [];
  }

  /** How many levels there are. */
  get levels(): number {
    return this.#levels.length;
  }

  /** Adds the hash of an entry. `onFull` is called for each tile that becomes full by it, the lowest first. */
  add(leaf: Uint8Array, onFull: (tile: FullTile) => void): void {
    this.#size += 1;
    let hash: Uint8Array | undefined = leaf;
    for (let level = 0; hash !== undefined; level += 1) {
      const hashes: Uint8Array[] = this.#levels[level] ?? [];
      this.#levels[level] = hashes;
      hashes.push(hash);
      hash = undefined;
      if (hashes.length < TILE_WIDTH) continue;
      this.#levels[level] = [];
      onFull({ level, index: hashesAt(level, this.#size) / TILE_WIDTH - 1, hashes });
      hash = hashOfComplete(hashes);
    }
  }

  /** The root of the tree as it is. */
  root(): Uint8Array {
    const subtrees = this.#levels.flatMap((hashes) => completeSubtrees(hashes).toReversed());
    return rootOfSubtrees(subtrees.toReversed());
  }
}

/** Of neighbours from the first of a tile on: complete subtrees of falling size. */
const completeSubtrees = (hashes: readonly Uint8Array[]): readonly Uint8Array[] =>
  subtreesOf({ from: 0, to: hashes.length }).map(({ height, index }) =>
    hashOfComplete(hashes.slice(index * 2 ** height, (index + 1) * 2 ** height)),
  );
