/**
 * The key-encryption keys at one path, of which there are several while one takes the place of another: `PATH.next`
 * from the beginning of that on, and `PATH.before` from its end on, for as long as the operator keeps it.
 */
import { existsSync } from 'node:fs';
import { equal } from '../ground/bytes.ts';
import { readKek } from './kek.ts';

/** Reads the files at each call, since another process may be changing them. Blocks. */
export interface Keks {
  /** That of new key files. Throws file, file_mode. */
  newest(): Uint8Array;
  /** All that a key file may be encrypted under, the newest first. Throws file, file_mode. */
  all(): readonly Uint8Array[];
}

/** Where the others are. */
export const keksBeside = (path: string) => ({ next: `${path}.next`, before: `${path}.before` });

/** Reads nothing yet. */
export function keksAt(path: string): Keks {
  const { next, before } = keksBeside(path);
  const newest = (): Uint8Array => ifThere(next) ?? readKek(path);
  return {
    newest,
    all() {
      const found = [newest(), readKek(path), ifThere(before)].filter((each) => each !== undefined);
      return found.filter((each, n) => found.findIndex((other) => equal(each, other)) === n);
    },
  };
}

/** Undefined if there is none, also if it was given another name while this looked. */
function ifThere(path: string): Uint8Array | undefined {
  try {
    return existsSync(path) ? readKek(path) : undefined;
  } catch (error) {
    if (existsSync(path)) throw error;
    return undefined;
  }
}
