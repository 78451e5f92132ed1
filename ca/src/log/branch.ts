/** The growing end of the log with its entries, and the files that a grown end consists of. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { leafHash } from '@chancery/shared/tlog/hash.ts';
import { Tail } from '@chancery/shared/tlog/tail.ts';
import {
  newTiles,
  partialFolder,
  TILE_WIDTH,
  type TileName,
  tilePath,
  writeBundle,
} from '@chancery/shared/tlog/tile.ts';
import type { LogFiles } from './log-files.ts';

/** Entries that are hashed before other work of this thread gets its turn: about a millisecond. */
const SLICE = 256;

/** A tree, with the entries of its last bundle if that is not full. */
export interface Branch {
  readonly tail: Tail;
  readonly last: readonly Uint8Array[];
}

export const EMPTY: Branch = { tail: new Tail(), last: [] };

interface TileFile {
  readonly name: TileName;
  readonly bytes: Uint8Array;
}

/**
 * Writes the tiles and bundles of the tree with these entries added, and resolves with it. The given one stays as it
 * is, and so do its files. Throws what `write` throws.
 */
export async function grow(
  branch: Branch,
  added: readonly string[],
  files: Pick<LogFiles, 'write' | 'writeSynced'>,
): Promise<Branch> {
  const tail = branch.tail.copy();
  const tiles: TileFile[] = [];
  let last = [...branch.last];
  for (const [n, text] of added.entries()) {
    if (n % SLICE === SLICE - 1) await nextTurn();
    const entry = utf8(text);
    last.push(entry);
    tail.add(leafHash(entry), ({ level, index, hashes }) =>
      tiles.push({ name: { level, index, width: TILE_WIDTH }, bytes: Buffer.concat(hashes) }),
    );
    if (last.length < TILE_WIDTH) continue;
    tiles.push(bundleFile(tail.size - 1, last));
    last = [];
  }
  if (last.length > 0) tiles.push(bundleFile(tail.size - 1, last));
  tiles.push(...partialTiles(tail, branch.tail.size));
  for (const { name, bytes } of tiles)
    if (name.width < TILE_WIDTH) await files.write(tilePath(name), bytes);
    else await files.writeSynced(tilePath(name), bytes);
  return { tail, last };
}

/** Writes the last tiles and the last bundle again. */
export async function writeEnd({ tail, last }: Branch, files: Pick<LogFiles, 'write'>): Promise<void> {
  const tiles = [...partialTiles(tail, 0), ...(last.length > 0 ? [bundleFile(tail.size - 1, last)] : [])];
  for (const { name, bytes } of tiles) await files.write(tilePath(name), bytes);
}

const bundleFile = (newest: number, entries: readonly Uint8Array[]): TileFile => ({
  name: { level: 'entries', index: Math.floor(newest / TILE_WIDTH), width: entries.length },
  bytes: writeBundle(entries),
});

/** Those that are new since the tree had `before` entries. */
function partialTiles(tail: Tail, before: number): readonly TileFile[] {
  return Array.from({ length: tail.levels }, (_, level) => newTiles(level, before, tail.size))
    .flat()
    .filter(({ width }) => width < TILE_WIDTH)
    .map((name) => ({ name, bytes: Buffer.concat(tail.last(Number(name.level))) }));
}

/** Folders with partial tiles that a tree of `before` entries had, and whose full tiles one of `size` has. */
export function outgrown(before: number, size: number): readonly string[] {
  const folders: string[] = [];
  for (let level = 0; ; level += 1) {
    const [first] = newTiles(level, before, size);
    if (first === undefined) return folders;
    if (first.width < TILE_WIDTH) continue;
    folders.push(partialFolder(first));
    if (level === 0) folders.push(partialFolder({ level: 'entries', index: first.index }));
  }
}
