/**
 * Reads of a log: its checkpoint, one entry, and the proof of it. A log may be pruned of its oldest entries: their
 * bundles and tiles of level 0 are gone, and the tiles above prove that what is kept comes after them. An entry that is
 * kept says what was pruned, so that nobody can pass a loss off as pruning.
 */
import { asBuffer, equal, utf8Text } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { openCheckpoint } from './checkpoint.ts';
import { HASH_BYTES, hashOfComplete } from './hash.ts';
import type { NoteKey } from './note.ts';
import { type EntryProof, verifyProof } from './proof-text.ts';
import { proveInclusion } from './prove.ts';
import { Tail } from './tail.ts';
import {
  hashesAt,
  hashesOfTile,
  PRUNED_TOGETHER,
  readBundle,
  TILE_WIDTH,
  type TileName,
  tileOf,
  tilePath,
} from './tile.ts';

/** Gives a file of the log by its path; undefined if there is none. */
export type ReadFile = (path: string) => Promise<Uint8Array | undefined>;

/** Of a folder without the file `checkpoint`. */
export const NO_CHECKPOINT =
  'the folder of the log has no checkpoint: a CA that serves writes it within seconds from its database, ' +
  'unless the log does not grow (chancery-ca audit status says why)';

/** The proof has the entry as its extra data, and is verified. Throws tlog, and what `read` throws. */
export async function readEntryProof(index: number, read: ReadFile, key: NoteKey): Promise<EntryProof> {
  const note = await read('checkpoint');
  ensure(note !== undefined, 'tlog', NO_CHECKPOINT);
  const { size } = openCheckpoint(note, key);
  const readTile = async (name: TileName): Promise<Uint8Array> => {
    const bytes = await readWidth(name, read);
    ensure(bytes !== undefined, 'tlog', `${tilePath(name)} is missing: was entry ${index} pruned?`);
    return bytes;
  };
  const hashes = await proveInclusion(index, { size, read: readTile });
  const name = { ...tileOf(0, index, size), level: 'entries' } as const;
  const entry = readBundle(await readTile(name), name).entries[index % TILE_WIDTH];
  ensure(entry !== undefined, 'tlog', `${tilePath(name)} does not have entry ${index}`);
  const proof = { extra: entry, index, hashes, checkpoint: utf8Text(note, 'tlog', 'the checkpoint') };
  verifyProof(proof, entry, key);
  return proof;
}

/** A tile or a bundle. A log removes a partial one once the full one is there, which begins with it. */
export async function readWidth(name: TileName, read: ReadFile): Promise<Uint8Array | undefined> {
  const bytes = await read(tilePath(name));
  if (bytes !== undefined || name.width === TILE_WIDTH) return bytes;
  const whole = await read(tilePath({ ...name, width: TILE_WIDTH }));
  if (whole === undefined) return undefined;
  if (name.level === 'entries') return asBuffer(whole).subarray(0, lengthOfEntries(whole, name));
  return whole.subarray(0, (whole.length / TILE_WIDTH) * name.width);
}

const lengthOfEntries = (bytes: Uint8Array, name: TileName): number =>
  readBundle(bytes, name).entries.reduce((sum, { length }) => sum + 2 + length, 0);

/** How many entries were pruned, by the entry of the log that says so; 0 for any other entry. */
export function prunedBy(entry: Uint8Array): number {
  const begin = asBuffer(entry).toString('latin1', 0, 128);
  return Number(/^\{"at":"[^"]*","type":"log\.pruned","entries":(\d{1,15}),/.exec(begin)?.[1] ?? 0);
}

/** Where the kept part of a log of `size` entries may begin, by its files. Throws what `read` throws. */
export async function keptFrom(size: number, read: ReadFile): Promise<number> {
  const isThere = async (name: TileName) => (await read(tilePath(name))) !== undefined;
  let from = 0;
  for (; from + PRUNED_TOGETHER <= size; from += PRUNED_TOGETHER) {
    const index = from / TILE_WIDTH;
    if (await isThere({ level: 'entries', index, width: TILE_WIDTH })) break;
    if (await isThere({ level: 0, index, width: TILE_WIDTH })) break;
  }
  return from;
}

/** The tree of the first `from` entries of a log, by its tiles above level 1; undefined if one of them is missing. */
export async function tailOfPruned(from: number, size: number, read: ReadFile): Promise<Tail | undefined> {
  const levels: (readonly Uint8Array[])[] = [];
  for (let level = 0; hashesAt(level, from) > 0; level += 1) {
    const inTile = hashesAt(level, from) % TILE_WIDTH;
    if (inTile === 0) levels.push([]);
    else {
      const name = tileOf(level, hashesAt(level, from) - 1, size);
      const bytes = await readWidth(name, read);
      if (bytes === undefined || bytes.length !== name.width * HASH_BYTES) return undefined;
      levels.push(hashesOfTile(bytes, name).slice(0, inTile));
    }
  }
  return new Tail(from, levels);
}

/** A full tile above pruned entries, and the tile that has its hash. */
export interface KeptTile {
  readonly name: TileName;
  readonly above: TileName;
  /** The second has another hash than the first leads to. */
  readonly state: 'whole' | 'another' | 'missing';
}

/** The full tiles above level 0 that are over the first `from` entries, the first entries first. Throws as `read`. */
export async function* keptTiles(from: number, size: number, read: ReadFile): AsyncIterable<KeptTile> {
  for (let level = 1; hashesAt(level + 1, from) > 0; level += 1)
    for (let index = 0; index < hashesAt(level + 1, from); index += 1) {
      const [name, above] = [{ level, index, width: TILE_WIDTH }, tileOf(level + 1, index, size)];
      const bytes = await read(tilePath(name));
      if (bytes === undefined) yield { name, above, state: 'missing' };
      else yield { name, above, state: (await leadsTo(name, bytes, above, read)) ? 'whole' : 'another' };
    }
}

async function leadsTo(name: TileName, bytes: Uint8Array, above: TileName, read: ReadFile): Promise<boolean> {
  const over = await readWidth(above, read);
  if (bytes.length !== name.width * HASH_BYTES || over?.length !== above.width * HASH_BYTES) return false;
  const hash = hashesOfTile(over, above)[name.index % TILE_WIDTH] ?? new Uint8Array();
  return equal(hashOfComplete(hashesOfTile(bytes, name)), hash);
}
