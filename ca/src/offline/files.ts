/** Requests as files: they follow what is open, and are written again if they were removed or changed. */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';
import { makeFolder } from '@chancery/shared/unix/files/make-folder.ts';
import type { OpenRequest } from './open.ts';

const OURS = /^(intermediate|voucher|crl)-[0-9a-f]+\.pem$/;

/** The folder has what is open, and nothing else that looks like a request. Throws file. */
export function keepFiles(folder: string, open: readonly OpenRequest[]): void {
  const wanted = new Map(open.map(({ file, pem }) => [file, pem]));
  for (const name of namesIn(folder))
    if (OURS.test(name) && !wanted.has(join(folder, name))) rmSync(join(folder, name), { force: true });
  if (wanted.size > 0) makeFolder(folder, 0o755);
  for (const [file, pem] of wanted) if (textIn(file) !== pem) writeFileAtomic(file, utf8(pem), 0o644);
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function textIn(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
