/** Where vectors from elsewhere are: beside the project, or where VECTORS says. The project does not contain them. */
import fs from 'node:fs';
import { join, resolve } from 'node:path';
import type { TestContext } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

export interface VectorSource {
  /** The folder's name below the vectors' one. */
  readonly folder: string;
  /** Repository and commit of the tests. */
  readonly from: string;
}

/** The folder, or a test that reports itself skipped and says where the data comes from. */
export function vectorsOrSkip({ folder, from }: VectorSource, { skip }: TestContext): string {
  const path = vectorsPath(folder);
  if (fs.existsSync(path)) return path;
  const reason = `skipped: no vectors at ${path}; they come from ${from}, and VECTORS names their parent folder`;
  // Vitest's default reporter counts a skipped test without its note.
  console.info(reason);
  return skip(reason);
}

function vectorsPath(folder: string): string {
  return join(resolve(root, process.env['VECTORS'] ?? '../shared/vectors'), folder);
}
