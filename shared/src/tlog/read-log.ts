/** Reads of a log: its checkpoint, one entry, and the proof of it. */
import { asBuffer, utf8Text } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { openCheckpoint } from './checkpoint.ts';
import type { NoteKey } from './note.ts';
import { type EntryProof, verifyProof } from './proof-text.ts';
import { proveInclusion } from './prove.ts';
import { readBundle, TILE_WIDTH, type TileName, tileOf, tilePath } from './tile.ts';

/** Gives a file of the log by its path; undefined if there is none. */
export type ReadFile = (path: string) => Promise<Uint8Array | undefined>;

/** The proof has the entry as its extra data, and is verified. Throws tlog, and what `read` throws. */
export async function readEntryProof(index: number, read: ReadFile, key: NoteKey): Promise<EntryProof> {
  const note = await read('checkpoint');
  ensure(note !== undefined, 'tlog', 'the log has no checkpoint yet: it has no entries');
  const { size } = openCheckpoint(note, key);
  const readTile = async (name: TileName): Promise<Uint8Array> => {
    const bytes = await readWidth(name, read);
    ensure(bytes !== undefined, 'tlog', `${tilePath(name)} is missing`);
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
