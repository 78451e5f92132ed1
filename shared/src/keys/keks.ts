/**
 * The key-encryption keys at one path, of which there are several while one takes the place of another: `PATH.next`
 * from the beginning of that on, and `PATH.before` from its end on, for as long as the operator keeps it.
 */
import { existsSync } from 'node:fs';
import { equal } from '../ground/bytes.ts';
import { inFile } from '../unix/files/whole-file.ts';
import { readKek } from './kek.ts';

/** Reads the files at each call, since another process may be changing them. Blocks. */
export interface Keks {
  /** That of new key files. Throws file, file_mode. */
  newest(): Uint8Array;
  /**
   * All that a key file may be encrypted under, the newest first. Each is read when it is asked for: what an older one
   * is derived from may be gone once no file is under it. Throws file, file_mode.
   */
  all(): Iterable<Uint8Array>;
}

/** Where the others are. */
export const keksBeside = (path: string) => ({ next: `${path}.next`, before: `${path}.before` });

/** Reads nothing yet. */
export function keksAt(path: string): Keks {
  const { next, before } = keksBeside(path);
  const newest = (): Uint8Array => ifThere(next) ?? readKek(path);
  return {
    newest,
    *all() {
      const given: Uint8Array[] = [];
      for (const read of [newest, () => readKek(path), () => ifThere(before)]) {
        const found = read();
        if (found === undefined || given.some((each) => equal(each, found))) continue;
        given.push(found);
        yield found;
      }
    },
  };
}

/** Undefined if there is none, also if it was given another name while this looked. */
function ifThere(path: string): Uint8Array | undefined {
  try {
    return existsSync(path) ? inFile(path, 'file', () => readKek(path)) : undefined;
  } catch (error) {
    if (existsSync(path)) throw error;
    return undefined;
  }
}
