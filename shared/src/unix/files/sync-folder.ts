/** What a loss of power must not undo. */
import fs from 'node:fs';

/** So that a name in it survives a loss of power. Throws what the file system says. Blocks. */
export function syncFolder(path: string): void {
  const fd = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}
