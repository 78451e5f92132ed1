/**
 * The files of spools: segments of lines, each named by its spool and the number of its first record. Each start begins
 * another spool, since nothing proves that the files are the newest ones, and nobody's else: what is in the segments of
 * before stays under its names, and the numbers go on.
 */
import fs from 'node:fs';
import { join } from 'node:path';
import { openPrivateFile } from '@chancery/shared/unix/files/append-file.ts';
import { syncFolder } from '@chancery/shared/unix/files/sync-folder.ts';
import { inFile } from '@chancery/shared/unix/files/whole-file.ts';
import { readLines } from './line.ts';

export interface Segment {
  /** Of its spool: 16 bytes, hexadecimal. */
  id: string;
  /** The number of its first record. */
  readonly first: number;
  path: string;
  bytes: number;
}

/** Segments by their numbers; the last one is empty, and of a new spool. */
export interface Found {
  readonly segments: readonly Segment[];
  /** The number of the next record. */
  readonly next: number;
  /** The last segment, open for writing. */
  readonly fd: number;
}

const NAME = /^([0-9a-f]{32})-(\d{16})\.spool$/;

const segmentPath = (folder: string, id: string, first: number): string =>
  join(folder, `${id}-${String(first).padStart(16, '0')}.spool`);

/** Finds the segments in the folder, 0700, and begins the spool with this ID. Throws file. Blocks. */
export function findSegments(folder: string, newId: string): Found {
  return inFile(folder, 'file', () => {
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    fs.chmodSync(folder, 0o700);
    const segments = listed(folder);
    const next = repaired(segments);
    const { segment, fd } = makeSegment(folder, newId, next);
    return { segments: [...segments, segment], next, fd };
  });
}

const listed = (folder: string): Segment[] =>
  fs
    .readdirSync(folder)
    .flatMap((name) => {
      const [, id = '', first] = NAME.exec(name) ?? [];
      const path = join(folder, name);
      return first === undefined ? [] : [{ id, first: Number(first), path, bytes: fs.statSync(path).size }];
    })
    .toSorted((a, b) => a.first - b.first);

/** Gives these segments the name of another spool. Throws what the file system throws. Blocks. */
export function renameSegments(folder: string, segments: readonly Segment[], id: string): void {
  for (const segment of segments) {
    const path = segmentPath(folder, id, segment.first);
    if (path !== segment.path) fs.renameSync(segment.path, path);
    [segment.id, segment.path] = [id, path];
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
  return { segment: { id, first, path, bytes: 0 }, fd };
}

/** Removes segments at the end without a whole record. Returns the number of the next one. */
function repaired(segments: Segment[]): number {
  let next = 1;
  for (let last = segments.at(-1); last !== undefined; last = segments.at(-1)) {
    next = cutOff(last);
    if (last.bytes > 0) break;
    segments.pop();
    fs.rmSync(last.path);
  }
  return next;
}

/** Cuts off what comes after the last whole record; the rest is on the disk then. Returns the next number. */
function cutOff(segment: Segment): number {
  const fd = fs.openSync(segment.path, 'r+');
  try {
    const bytes = fs.readFileSync(fd);
    let [end, next] = [0, segment.first];
    for (const line of readLines(bytes))
      if (line.record !== undefined) [end, next] = [line.end, line.record.number + 1];
    if (end < bytes.length) fs.ftruncateSync(fd, end);
    fs.fdatasyncSync(fd);
    segment.bytes = end;
    return next;
  } finally {
    fs.closeSync(fd);
  }
}
