/**
 * Makes a folder and its missing parents. Not by Node's `recursive`: that never ends if a parent is there and refuses
 * children as missing, as /proc does.
 */
import fs from 'node:fs';
import { dirname, resolve } from 'node:path';

/** Does nothing if the folder is there. Parents get the same mode. Throws what the file system throws. Blocks. */
export function makeFolder(path: string, mode: number): void {
  const missing: string[] = [];
  for (let at = resolve(path); !fs.existsSync(at) && at !== dirname(at); at = dirname(at))
    missing.unshift(at);
  for (const each of missing) makeOne(each, mode);
  // If a file is in the way, this throws EEXIST with the path, as `recursive` does.
  if (missing.length === 0 && !fs.statSync(path).isDirectory()) fs.mkdirSync(path, mode);
}

function makeOne(path: string, mode: number): void {
  try {
    fs.mkdirSync(path, mode);
  } catch (error) {
    // Another process was first.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}
