/**
 * The files of a spool: segments of lines, each named by the spool and the number of its first record. The last one is
 * written to. What a kill or a full disk has left of a line at its end is cut off.
 */
import fs from 'node:fs';
import { join } from 'node:path';
import { openPrivateFile } from '@chancery/shared/unix/files/append-file.ts';
import { inFile } from '@chancery/shared/unix/files/whole-file.ts';
import { readLines } from './line.ts';

export interface Segment {
  /** The number of its first record. */
  readonly first: number;
  path: string;
  bytes: number;
}

/** The segments of one spool, by their numbers; there is one at least. */
export interface Found {
  readonly id: string;
  readonly segments: readonly Segment[];
  /** The number of the next record. */
  readonly next: number;
  /** The last segment, open for writing. */
  readonly fd: number;
}

const NAME = /^([0-9a-f]{32})-(\d{16})\.spool$/;

const segmentPath = (folder: string, id: string, first: number): string =>
  join(folder, `${id}-${String(first).padStart(16, '0')}.spool`);

/** Finds the segments in the folder, 0700, or makes a first one. `newId` names a spool. Throws file. Blocks. */
export function findSegments(folder: string, newId: () => string): Found {
  return inFile(folder, 'file', () => {
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    fs.chmodSync(folder, 0o700);
    const found = listed(folder);
    const ids = new Set(found.map(({ id }) => id));
    // Two if it was killed while it was being renamed.
    const id = ids.size === 1 ? (found[0]?.id ?? newId()) : newId();
    const segments = found.map(({ id, first }) => {
      const path = segmentPath(folder, id, first);
      return { first, path, bytes: fs.statSync(path).size };
    });
    dropEmpty(segments);
    renameSegments(folder, segments, id);
    const last = segments.at(-1);
    if (last !== undefined)
      return { id, segments, next: repaired(last), fd: openPrivateFile(last.path, 'file') };
    const { segment, fd } = makeSegment(folder, id, 1);
    return { id, segments: [segment], next: 1, fd };
  });
}

const listed = (folder: string): readonly { readonly id: string; readonly first: number }[] =>
  fs
    .readdirSync(folder)
    .flatMap((name) => {
      const [, id = '', first] = NAME.exec(name) ?? [];
      return first === undefined ? [] : [{ id, first: Number(first) }];
    })
    .toSorted((a, b) => a.first - b.first);

/** What a process that was killed has begun: the segment before says which number is the next. */
function dropEmpty(segments: Segment[]): void {
  while (segments.length > 1 && segments.at(-1)?.bytes === 0) fs.rmSync(segments.pop()?.path ?? '');
}

/** Gives all segments the name of another spool. Throws what the file system throws. Blocks. */
export function renameSegments(folder: string, segments: readonly Segment[], id: string): void {
  for (const segment of segments) {
    const path = segmentPath(folder, id, segment.first);
    if (path !== segment.path) fs.renameSync(segment.path, path);
    segment.path = path;
  }
  syncFolder(folder);
}

/** Makes an empty segment, 0600, whose name is durable, and opens it. Throws what the file system throws. Blocks. */
export function makeSegment(folder: string, id: string, first: number): { segment: Segment; fd: number } {
  const path = segmentPath(folder, id, first);
  const fd = openPrivateFile(path, 'file');
  try {
    syncFolder(folder);
  } catch (error) {
    fs.closeSync(fd);
    fs.rmSync(path, { force: true });
    throw error;
  }
  return { segment: { first, path, bytes: 0 }, fd };
}

function syncFolder(folder: string): void {
  const fd = fs.openSync(folder, fs.constants.O_RDONLY);
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Cuts off what comes after the last whole record. Returns the number of the next one. */
function repaired(segment: Segment): number {
  const bytes = fs.readFileSync(segment.path);
  let [end, next] = [0, segment.first];
  for (const line of readLines(bytes))
    if (line.record !== undefined) [end, next] = [line.end, line.record.number + 1];
  if (end < bytes.length) fs.truncateSync(segment.path, end);
  segment.bytes = end;
  return next;
}
