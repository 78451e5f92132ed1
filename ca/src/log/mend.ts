/** Finds the growing end of the log in its files, and writes spoiled files again from the database. */
import { equal, hex, utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { type Checkpoint, openCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import { hashOfComplete, leafHash } from '@chancery/shared/tlog/hash.ts';
import type { NoteKey } from '@chancery/shared/tlog/note.ts';
import { Tail } from '@chancery/shared/tlog/tail.ts';
import {
  hashesAt,
  hashesOfTile,
  readBundle,
  TILE_WIDTH,
  type TileName,
  tileOf,
  tilePath,
} from '@chancery/shared/tlog/tile.ts';
import type { LogCheckpoint, LogStore } from '../store/log-store.ts';
import { type Branch, EMPTY, grow, writeEnd } from './branch.ts';
import type { LogFiles } from './log-files.ts';
import { tailOfText } from './pruned-tail.ts';

export interface MendDeps {
  readonly store: LogStore;
  readonly files: LogFiles;
  readonly log: Log;
  /** Aborts where the CA closes. */
  readonly signal: AbortSignal;
}

/** Events that are read from the database at once: a few milliseconds of its thread. */
export const PAGE = 1_000;

/** The tree of a checkpoint of the database. Throws tlog if the database has other events than were signed. */
export async function loadBranch(checkpoint: LogCheckpoint | undefined, deps: MendDeps): Promise<Branch> {
  if (checkpoint === undefined) return EMPTY;
  const found = await readBranch(checkpoint, deps.files);
  if (typeof found !== 'string') return found;
  const { log } = deps;
  const entries = checkpoint.size;
  if (await isNew(checkpoint, deps.files))
    log.info({ entries }, 'the files of the audit log are not there; they are written from the database');
  else
    log.warn({ entries, problem: found }, 'the files of the audit log are spoiled; they are written again');
  const mended = (await mendEnd(checkpoint, deps)) ?? (await rebuild(checkpoint, deps));
  log.info({ entries: checkpoint.size }, 'the files of the audit log are whole again');
  return mended;
}

/** The root of the first `size` entries, signed or not; undefined if the database has fewer. Throws tlog. */
export async function rootAt(size: number, deps: MendDeps): Promise<Uint8Array | undefined> {
  const checkpoint = await deps.store.checkpoint();
  const tail = (await loadBranch(checkpoint, deps)).tail.copy();
  for (let after = checkpoint?.through ?? 0, more = true; more && tail.size < size; ) {
    const page = await deps.store.leaves(after, PAGE);
    for (const entry of page.entries.slice(0, size - tail.size)) tail.add(leafHash(utf8(entry)), () => {});
    ({ through: after, more } = page);
  }
  return tail.size === size ? tail.root() : undefined;
}

/** Whether nothing of the log is in its folder, as after a restore. */
async function isNew({ size }: LogCheckpoint, files: LogFiles): Promise<boolean> {
  const first = ['checkpoint', tilePath(tileOf(0, 0, size))];
  return (await Promise.all(first.map((path) => files.read(path)))).every((found) => found === undefined);
}

/** The sentence says what is wrong with the files. */
async function readBranch({ size, root }: LogCheckpoint, files: LogFiles): Promise<Branch | string> {
  try {
    const levels: (readonly Uint8Array[])[] = [];
    for (let level = 0; hashesAt(level, size) > 0; level += 1) {
      const name = tileOf(level, hashesAt(level, size) - 1, size);
      // The end of a level whose last tile is full is the beginning of the next tile.
      levels.push(name.width === TILE_WIDTH ? [] : hashesOfTile(await read(tilePath(name), files), name));
    }
    const tail = new Tail(size, levels);
    ensure(
      equal(tail.root(), Buffer.from(root, 'hex')),
      'tlog',
      'the last tiles do not have the root of the checkpoint',
    );
    return { tail, last: await readLast(tail, files) };
  } catch (error) {
    if (!isRefusal(error, 'tlog')) throw error;
    return error.message;
  }
}

async function readLast(tail: Tail, files: LogFiles): Promise<readonly Uint8Array[]> {
  const hashes = tail.last(0);
  if (hashes.length === 0) return [];
  const name = { ...tileOf(0, tail.size - 1, tail.size), level: 'entries' } as const;
  const { entries, problem } = readBundle(await read(tilePath(name), files), name);
  ensure(problem === undefined, 'tlog', problem ?? '');
  const same = entries.every((entry, at) => equal(leafHash(entry), hashes[at] ?? new Uint8Array()));
  ensure(same, 'tlog', `${tilePath(name)} has other entries than its tile`);
  return entries;
}

async function read(path: string, files: LogFiles): Promise<Uint8Array> {
  const bytes = await files.read(path);
  ensure(bytes !== undefined, 'tlog', `${path} is missing`);
  return bytes;
}

/** From the full tiles and the newest entries of the database; undefined if these do not have the signed root. */
async function mendEnd({ size, root }: LogCheckpoint, deps: MendDeps): Promise<Branch | undefined> {
  const { files } = deps;
  try {
    const last = await newestEntries(size - (size % TILE_WIDTH), size, deps);
    const levels = [last.map(leafHash)];
    for (let level = 1; hashesAt(level, size) > 0; level += 1) {
      const count = hashesAt(level, size);
      const below = Array.from({ length: count % TILE_WIDTH }, (_, at) => count - (count % TILE_WIDTH) + at);
      levels.push(
        await Promise.all(
          below.map((index) => hashOfTile({ level: level - 1, index, width: TILE_WIDTH }, files)),
        ),
      );
    }
    const branch = { tail: new Tail(size, levels), last };
    if (hex(branch.tail.root()) !== root) return undefined;
    await writeEnd(branch, files);
    return branch;
  } catch (error) {
    if (!isRefusal(error, 'tlog')) throw error;
    return undefined;
  }
}

const hashOfTile = async (name: TileName, files: LogFiles): Promise<Uint8Array> =>
  hashOfComplete(hashesOfTile(await read(tilePath(name), files), name));

/** Entries of the database from one index to before another, counted from the checkpoint before them. */
async function newestEntries(from: number, to: number, { store }: MendDeps): Promise<readonly Uint8Array[]> {
  const before = await store.checkpoint(from);
  let [at, through, more] = [before?.size ?? 0, before?.through ?? 0, true];
  const found: string[] = [];
  while (more && at < to) {
    const page = await store.leaves(through, PAGE);
    found.push(...page.entries.slice(Math.max(from - at, 0), to - at));
    at += page.entries.length;
    ({ through, more } = page);
  }
  ensure(found.length === to - from, 'tlog', `the database does not have the entries ${from} to ${to - 1}`);
  return found.map(utf8);
}

/** Writes all tiles and bundles up to the checkpoint again, from what is kept on. */
async function rebuild({ size, root }: LogCheckpoint, { store, files, signal }: MendDeps): Promise<Branch> {
  let { branch, passed } = await keptPart(store);
  for (let after = 0; branch.tail.size < size; ) {
    signal.throwIfAborted();
    const { entries: page, through } = await store.leaves(after, PAGE);
    const entries = page.slice(passed);
    passed = Math.max(0, passed - page.length);
    ensure(
      through > after,
      'tlog',
      `the database has ${branch.tail.size} entries; the signed log has ${size}`,
    );
    const isLast = branch.tail.size + entries.length >= size;
    branch = await grow(branch, entries.slice(0, size - branch.tail.size), isLast ? files : fullOnly(files));
    after = through;
  }
  const says = `the events in the database are not those of the signed checkpoint of ${size} entries`;
  ensure(hex(branch.tail.root()) === root, 'tlog', says);
  // The last page writes the partial tiles that are new since the page before, and no other.
  await writeEnd(branch, files);
  return branch;
}

interface KeptPart {
  readonly branch: Branch;
  /** How many of the first entries of the database are in that tree. */
  readonly passed: number;
}

/** The tree with which the files begin: of nothing, or of what was pruned. Throws tlog. */
async function keptPart(store: LogStore): Promise<KeptPart> {
  const { entries: pruned, tail } = await store.pruning();
  const first = pruned === 0 ? 0 : await firstEntry(store);
  if (first === 0) return { branch: EMPTY, passed: 0 };
  const gone = `the database was pruned of the entries before ${pruned}, so it cannot give the files again`;
  const isKnown = first !== undefined && first <= pruned && tail !== undefined;
  ensure(isKnown, 'tlog', `${gone}: put a copy of dataDir/log in place, without its file named checkpoint`);
  return { branch: { tail: tailOfText(pruned, tail), last: [] }, passed: pruned - first };
}

/** The index of the first entry that the database has. */
async function firstEntry(store: LogStore): Promise<number | undefined> {
  for (let after = 0, more = true; more; ) {
    const page = await store.leaves(after, 1);
    if (page.entries.length > 0) return store.indexOf(page.through);
    ({ through: after, more } = page);
  }
  return undefined;
}

/** On the way to a checkpoint, partial tiles are not its own. */
const fullOnly = ({ writeSynced }: LogFiles): Pick<LogFiles, 'write' | 'writeSynced'> => ({
  write: async () => {},
  writeSynced,
});

/** Throws tlog if the published checkpoint is ahead of the database, or if that of the database is not signed. */
export async function ensureNotAhead(
  checkpoint: LogCheckpoint | undefined,
  key: NoteKey,
  files: LogFiles,
): Promise<void> {
  if (checkpoint !== undefined) {
    const { size, root } = openCheckpoint(utf8(checkpoint.note), key);
    const same = size === checkpoint.size && hex(root) === checkpoint.root;
    ensure(
      same,
      'tlog',
      `the checkpoint of ${checkpoint.size} entries in the database is not the signed one`,
    );
  }
  const published = await readPublished(key, files);
  if (published === undefined) return;
  const known = checkpoint?.size ?? 0;
  const advice = 'Put the newest ca.db in place; docs/audit.md says what to do without one';
  const what = `the published checkpoint has ${published.size} entries and the database ${known}`;
  ensure(published.size <= known, 'tlog', `${what}: the database is older. ${advice}`);
  const same = published.size !== known || hex(published.root) === checkpoint?.root;
  ensure(
    same,
    'tlog',
    `the published checkpoint and the database have another tree of ${known} entries. ${advice}`,
  );
}

/** Undefined for a file that is missing or spoiled: it is written again. */
async function readPublished(key: NoteKey, files: LogFiles): Promise<Checkpoint | undefined> {
  const note = await files.read('checkpoint');
  try {
    return note && openCheckpoint(note, key);
  } catch (error) {
    if (!isRefusal(error, 'tlog')) throw error;
    return undefined;
  }
}
