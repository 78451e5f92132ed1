/** A log in memory, in the layout of C2SP tlog-tiles, and the root of a tree by the definition itself. */
import { hash } from 'node:crypto';
import { EMPTY_ROOT, leafHash } from '@chancery/shared/tlog/hash.ts';
import { Tail } from '@chancery/shared/tlog/tail.ts';
import { newTiles, tilePath, writeBundle } from '@chancery/shared/tlog/tile.ts';

/** MTH of RFC 9162 section 2.1.1, as it is written there. */
export function rootByDefinition(entries: readonly Uint8Array[]): Uint8Array {
  const [first] = entries;
  if (first === undefined) return hash('sha256', '', 'buffer');
  if (entries.length === 1) return hash('sha256', Buffer.concat([Buffer.of(0), first]), 'buffer');
  let k = 1;
  while (k * 2 < entries.length) k *= 2;
  const [left, right] = [rootByDefinition(entries.slice(0, k)), rootByDefinition(entries.slice(k))];
  return hash('sha256', Buffer.concat([Buffer.of(1), left, right]), 'buffer');
}

export interface TileLog {
  readonly files: Map<string, Uint8Array>;
  readonly root: Uint8Array;
}

/** The tiles and bundles of a tree of these entries, as they are when the log has just this size. */
export function tileLog(entries: readonly Uint8Array[]): TileLog {
  const files = new Map<string, Uint8Array>();
  const tail = new Tail();
  for (const entry of entries)
    tail.add(leafHash(entry), ({ level, index, hashes }) =>
      files.set(tilePath({ level, index, width: hashes.length }), Buffer.concat(hashes)),
    );
  for (let level = 0; level < tail.levels; level += 1)
    for (const tile of newTiles(level, 0, entries.length))
      if (tile.width < 256) files.set(tilePath(tile), Buffer.concat(tail.last(level)));
  for (const { index, width } of newTiles(0, 0, entries.length))
    files.set(
      tilePath({ level: 'entries', index, width }),
      writeBundle(entries.slice(index * 256, index * 256 + width)),
    );
  return { files, root: entries.length === 0 ? EMPTY_ROOT : tail.root() };
}
