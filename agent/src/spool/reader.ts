/** Reads records from the segments of a spool, in the order of their numbers. */
import fs from 'node:fs';
import { readLines } from './line.ts';
import type { Segment } from './segments.ts';

/** An offset in a segment, between two lines. */
export interface Place {
  readonly segment: Segment;
  readonly offset: number;
}

interface Item {
  readonly number: number;
  /** Undefined for a record that is not there, or not as it was written. */
  readonly json: string | undefined;
  /** Where the next one can be read. */
  readonly after: Place;
}

const CHUNK_BYTES = 512 * 1024;

/** One item for each number from `number` on, up to `next`. `from` is a place before it. Blocks as it is iterated. */
export function* itemsFrom(
  segments: readonly Segment[],
  next: number,
  { number, from }: { readonly number: number; readonly from: Place | undefined },
): Iterable<Item> {
  let at = number;
  for (const [index, segment] of segments.entries()) {
    const end = segments[index + 1]?.first ?? next;
    if (end <= at) continue;
    let before: Place = { segment, offset: from?.segment === segment ? from.offset : 0 };
    for (const { record, offset } of linesOf(before)) {
      const after = { segment, offset };
      if (record !== undefined && record.number >= at && record.number < end) {
        for (; at < record.number; at += 1) yield { number: at, json: undefined, after: before };
        yield { number: at, json: record.json, after };
        at += 1;
      }
      before = after;
    }
    for (; at < end; at += 1) yield { number: at, json: undefined, after: before };
  }
}

function* linesOf({ segment: { path, bytes }, offset: begin }: Place) {
  const fd = fs.openSync(path, 'r');
  try {
    for (let offset = begin; offset < bytes; ) {
      const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, bytes - offset));
      const read = fs.readSync(fd, chunk, 0, chunk.length, offset);
      if (read === 0) return;
      let used = 0;
      for (const { record, end } of readLines(chunk.subarray(0, read))) {
        used = end;
        yield { record, offset: offset + end };
      }
      // No line is so long: what a damaged disk has left of some.
      offset += used === 0 ? read : used;
    }
  } finally {
    fs.closeSync(fd);
  }
}
