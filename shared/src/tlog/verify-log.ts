/**
 * Verifies a whole log by its files and the key of its checkpoints. Every entry is hashed; the tree of the entries must
 * have the signed root. What differs is named by comparing with the tiles, the first difference first.
 */
import { equal } from '../ground/bytes.ts';
import { IdentityError, isRefusal } from '../ground/errors.ts';
import { type Checkpoint, openCheckpoint } from './checkpoint.ts';
import { Differences, type Finding } from './differences.ts';
import { leafHash } from './hash.ts';
import type { NoteKey } from './note.ts';
import { keptFrom, keptTiles, prunedBy, type ReadFile, readWidth, tailOfPruned } from './read-log.ts';
import { type FullTile, Tail } from './tail.ts';
import { hashesAt, hashesOfTile, readBundle, TILE_WIDTH, type TileName, tileOf, tilePath } from './tile.ts';

/** A checkpoint that was kept elsewhere. */
export interface KeptCheckpoint {
  /** For the report. */
  readonly name: string;
  readonly note: Uint8Array;
}

export interface LogToVerify {
  readonly read: ReadFile;
  readonly key: NoteKey;
  readonly kept: readonly KeptCheckpoint[];
  /** Called with the number of entries that were read, of how many. */
  readonly onProgress?: (read: number, size: number) => void;
  /**
   * Called with each entry that is hashed, in order. They are what was signed if the report has no findings: who reads
   * a file again reads what somebody has put there meanwhile.
   */
  readonly onEntry?: (index: number, entry: Uint8Array) => void;
}

export interface LogReport {
  /** Undefined if the checkpoint cannot be read or is not signed by the key. */
  readonly checkpoint: Checkpoint | undefined;
  /** The first entry that is kept: what is before it was pruned. */
  readonly from: number;
  /**
   * Tiles above level 0 over pruned entries, which prove nothing that is kept. They are not written again with the
   * files of a log from its database, so that a restored log may lack them.
   */
  readonly lacking: readonly string[];
  /** None if the log is what was signed. */
  readonly findings: readonly Finding[];
}

/** Throws what `read` throws, and tlog for a kept checkpoint that is not signed by the key. */
export async function verifyLog(log: LogToVerify): Promise<LogReport> {
  const kept = log.kept.map((each) => openKept(each, log.key));
  const opened = await openPublished(log);
  if (typeof opened === 'string')
    return { checkpoint: undefined, from: 0, lacking: [], findings: [{ entry: undefined, problem: opened }] };
  const verifier = new Verifier(log, opened, kept);
  const findings = await verifier.run();
  return { checkpoint: opened, from: verifier.from, lacking: verifier.lacking, findings };
}

function openKept({ name, note }: KeptCheckpoint, key: NoteKey): Kept {
  try {
    return { name, ...openCheckpoint(note, key) };
  } catch (error) {
    if (!isRefusal(error, 'tlog')) throw error;
    throw new IdentityError('tlog', `${name}: ${error.message}`, { cause: error });
  }
}

async function openPublished({ read, key }: LogToVerify): Promise<Checkpoint | string> {
  const note = await read('checkpoint');
  if (note === undefined)
    return 'checkpoint is missing: a CA that serves writes it, unless the log does not grow';
  try {
    return openCheckpoint(note, key);
  } catch (error) {
    if (!isRefusal(error, 'tlog')) throw error;
    return `checkpoint: ${error.message}`;
  }
}

interface Kept extends Checkpoint {
  readonly name: string;
}

class Verifier {
  readonly #log: LogToVerify;
  readonly #signed: Checkpoint;
  readonly #kept: readonly Kept[];
  readonly #differences: Differences;
  /** The tree of the entries. */
  #entries = new Tail();
  #from = 0;
  readonly #lacking: string[] = [];
  /** How many entries were pruned, by an entry that is kept. */
  #pruned = 0;
  /** The tree of the hashes in the tiles of level 0, from the first difference on. */
  #hashes: Tail | undefined;

  constructor(log: LogToVerify, signed: Checkpoint, kept: readonly Kept[]) {
    this.#log = log;
    this.#signed = signed;
    this.#kept = kept;
    this.#differences = new Differences(signed);
  }

  /** Once. Throws what `read` throws. */
  async run(): Promise<readonly Finding[]> {
    const { size } = this.#signed;
    await this.#begin();
    for (let from = this.#from; from < size; from += TILE_WIDTH) {
      await this.#bundle(from);
      this.#log.onProgress?.(Math.min(from + TILE_WIDTH, size), size);
    }
    this.#lookAtKept();
    if (this.#pruned < this.#from) this.#differences.unsaid(this.#from);
    for (let level = 1; hashesAt(level, size) > 0; level += 1) {
      const name = tileOf(level, hashesAt(level, size) - 1, size);
      if (name.width < TILE_WIDTH) await this.#compareTile(name, this.#entries.last(level));
    }
    const roots = { entries: this.#entries.root(), hashes: this.#hashes?.root() };
    const missing = this.#kept.filter((each) => each.size > size);
    for (const each of missing) this.#differences.missing(each);
    return this.#differences.findings(roots);
  }

  /** The first entry that is kept, once it ran. */
  get from(): number {
    return this.#from;
  }

  /** As in the report, once it ran. */
  get lacking(): readonly string[] {
    return this.#lacking;
  }

  /** Where entries were pruned, the tree begins with the hashes of the tiles above them. */
  async #begin(): Promise<void> {
    const { size } = this.#signed;
    const from = await keptFrom(size, this.#log.read);
    const tail = from === 0 ? undefined : await tailOfPruned(from, size, this.#log.read);
    if (tail === undefined) return;
    this.#from = from;
    this.#entries = tail;
    for (const each of this.#kept) if (each.size < from) this.#differences.pruned(each, from);
    for await (const { name, above, state } of keptTiles(from, size, this.#log.read))
      if (state === 'another') this.#differences.prunedTile(name, above);
      else if (state === 'missing') this.#lacking.push(tilePath(name));
  }

  /** The entries from `from` on, against the hashes of their tile. */
  async #bundle(from: number): Promise<void> {
    const name = tileOf(0, from, this.#signed.size);
    const bundleName = { ...name, level: 'entries' } as const;
    const [bundle, tile] = await Promise.all([readWidth(bundleName, this.#log.read), this.#tile(name)]);
    const { entries, problem } =
      bundle === undefined
        ? { entries: [], problem: `${tilePath(bundleName)} is missing` }
        : readBundle(bundle, bundleName);
    const full: FullTile[] = [];
    for (let at = 0; at < name.width; at += 1) {
      this.#lookAtKept();
      const [entry, hash] = [entries[at], tile[at]];
      const leaf = entry && leafHash(entry);
      if (entry !== undefined) {
        this.#pruned = Math.max(this.#pruned, prunedBy(entry));
        this.#log.onEntry?.(from + at, entry);
      }
      if (leaf === undefined || hash === undefined || !equal(leaf, hash)) {
        this.#hashes ??= this.#entries.copy();
        this.#differences.entry(from + at, leaf === undefined ? problem : undefined, name);
      }
      const known = leaf ?? hash ?? new Uint8Array(leafHash(new Uint8Array()).length);
      this.#entries.add(known, (each) => full.push(each));
      this.#hashes?.add(hash ?? known, () => {});
    }
    if (problem !== undefined && entries.length === name.width) this.#differences.file(from, problem);
    for (const { level, index, hashes } of full)
      if (level > 0) await this.#compareTile({ level, index, width: TILE_WIDTH }, hashes);
  }

  async #compareTile(name: TileName, expected: readonly Uint8Array[]): Promise<void> {
    const hashes = await this.#tile(name);
    const at = expected.findIndex((hash, n) => !equal(hash, hashes[n] ?? new Uint8Array()));
    if (at >= 0) this.#differences.tile(name, at);
  }

  /** Empty if the tile is missing or has another length. */
  async #tile(name: TileName): Promise<readonly Uint8Array[]> {
    const bytes = await readWidth(name, this.#log.read);
    try {
      return bytes === undefined ? [] : hashesOfTile(bytes, name);
    } catch (error) {
      if (!isRefusal(error, 'tlog')) throw error;
      return [];
    }
  }

  /** Those of the size that the tree has now. */
  #lookAtKept(): void {
    for (const kept of this.#kept) {
      if (kept.size !== this.#entries.size) continue;
      const isSame = equal(kept.root, this.#entries.root());
      if (!isSame) this.#differences.kept(kept);
    }
  }
}
