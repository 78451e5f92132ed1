/** What is wrong with a log, in sentences: which entry, or which part is missing, and what proves it. */
import { equal } from '../ground/bytes.ts';
import type { Checkpoint } from './checkpoint.ts';
import { TILE_WIDTH, type TileName, tilePath } from './tile.ts';

export interface Finding {
  /** The first entry that it is about; undefined if no entry can be named. */
  readonly entry: number | undefined;
  readonly problem: string;
}

interface Roots {
  /** Of the tree of the entries as they are. */
  readonly entries: Uint8Array;
  /** Of the tree of the hashes in the tiles; undefined if they are those of the entries. */
  readonly hashes: Uint8Array | undefined;
}

/** Collects differences while a log is read, and says at the end what they mean. */
export class Differences {
  readonly #signed: Checkpoint;
  readonly #missing: Finding[] = [];
  readonly #kept: Finding[] = [];
  readonly #files: Finding[] = [];
  #firstEntry:
    | { readonly index: number; readonly problem: string | undefined; readonly tile: TileName }
    | undefined;
  #entries = 0;
  #prunedTile: { readonly name: TileName; readonly above: TileName } | undefined;
  #firstTile: { readonly name: TileName; readonly at: number } | undefined;

  constructor(signed: Checkpoint) {
    this.#signed = signed;
  }

  /** The entry does not have the hash in its tile, or cannot be read: then the problem says why. */
  entry(index: number, problem: string | undefined, tile: TileName): void {
    this.#firstEntry ??= { index, problem, tile };
    this.#entries += 1;
  }

  /** A file has more than it should. */
  file(entry: number, problem: string): void {
    this.#files.push({ entry, problem });
  }

  /** A tile above level 0 does not have the hash of the tile below. */
  tile(name: TileName, at: number): void {
    this.#firstTile ??= { name, at };
  }

  /** The first entries have another root than a checkpoint that was kept. */
  kept({ name, size }: { readonly name: string; readonly size: number }): void {
    const problem = `the first ${size} entries are not those of the kept checkpoint ${name}: it is another history`;
    this.#kept.push({ entry: undefined, problem });
  }

  /** The log has fewer entries than a checkpoint that was kept. */
  missing({ name, size }: { readonly name: string; readonly size: number }): void {
    const from = this.#signed.size;
    const which = size - from === 1 ? `entry ${from} is` : `entries ${from} to ${size - 1} are`;
    this.#missing.push({
      entry: from,
      problem: `${which} missing: the kept checkpoint ${name} has ${size} entries`,
    });
  }

  /** A tile over pruned entries does not lead to its hash in the tile above. */
  prunedTile(name: TileName, above: TileName): void {
    this.#prunedTile ??= { name, above };
  }

  /** A checkpoint that was kept is of entries that are not there any more. */
  pruned({ name, size }: { readonly name: string; readonly size: number }, from: number): void {
    const problem = `the kept checkpoint ${name} has ${size} entries, and those before ${from} were pruned`;
    this.#kept.push({
      entry: undefined,
      problem: `${problem}: compare with one of at least ${from} entries`,
    });
  }

  /** The first entries are missing, and no entry says that they were pruned. */
  unsaid(from: number): void {
    const problem = `entries 0 to ${from - 1} are missing, and no entry after them says that they were pruned`;
    this.#missing.push({ entry: 0, problem });
  }

  /** The worst first. */
  findings(roots: Roots): readonly Finding[] {
    const { root, size } = this.#signed;
    const areEntriesSigned = equal(roots.entries, root);
    const areHashesSigned = roots.hashes !== undefined && equal(roots.hashes, root);
    const found = [...this.#missing];
    if (this.#prunedTile !== undefined) found.push(this.#prunedFinding(areEntriesSigned));
    if (this.#firstEntry !== undefined) found.push(this.#entryFinding(areEntriesSigned, areHashesSigned));
    else if (this.#firstTile !== undefined) found.push(this.#tileFinding(areEntriesSigned));
    else if (!areEntriesSigned && this.#prunedTile === undefined) {
      const says = `entries and tiles agree with each other, and not with the signed root of ${size} entries`;
      found.push({ entry: undefined, problem: `${says}: it is another history` });
    }
    return [...found, ...this.#kept, ...this.#files];
  }

  #prunedFinding(areEntriesSigned: boolean): Finding {
    const { name, above } = this.#prunedTile ?? { name: NO_TILE, above: NO_TILE };
    const span = TILE_WIDTH ** (Number(name.level) + 1);
    const from = name.index * span;
    const which = `entries ${from} to ${from + span - 1}, which were pruned`;
    const [tile, over] = [tilePath(name), tilePath(above)];
    if (areEntriesSigned) return { entry: from, problem: `${which}: ${tile} does not have their hashes` };
    const says = `${tile} and ${over} differ, and the second does not lead to the signed root`;
    return { entry: from, problem: `${which}: ${says}` };
  }

  #entryFinding(areEntriesSigned: boolean, areHashesSigned: boolean): Finding {
    const { index = 0, problem, tile = { level: 0, index: 0, width: 1 } } = this.#firstEntry ?? {};
    const more = this.#entries > 1 ? `; ${this.#entries - 1} more differ` : '';
    const says = (what: string): Finding => ({ entry: index, problem: `entry ${index}: ${what}${more}` });
    const bundle = tilePath({ ...tile, level: 'entries' });
    if (problem !== undefined) return says(problem);
    if (areEntriesSigned)
      return says(`${tilePath(tile)} does not have its hash. The entries are those that were signed`);
    if (areHashesSigned) return says(`${bundle} does not have the entry that was signed`);
    return says(`${bundle} and ${tilePath(tile)} differ, and neither leads to the signed root`);
  }

  #tileFinding(areEntriesSigned: boolean): Finding {
    const { name, at } = this.#firstTile ?? { name: { level: 1, index: 0, width: 1 }, at: 0 };
    const span = TILE_WIDTH ** Number(name.level);
    const from = (name.index * TILE_WIDTH + at) * span;
    const which = `entries ${from} to ${from + span - 1}`;
    const says = `${which}: ${tilePath(name)} does not have their hash`;
    const end = areEntriesSigned
      ? 'The entries are those that were signed'
      : 'They are not those that were signed';
    return { entry: from, problem: `${says}. ${end}` };
  }
}

const NO_TILE: TileName = { level: 1, index: 0, width: 1 };
