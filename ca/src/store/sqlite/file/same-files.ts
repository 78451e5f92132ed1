/** Whether the database's files are still those that were opened: what goes into a removed file is lost. */
import { statSync } from 'node:fs';
import { ensure } from '@chancery/shared/ground/errors.ts';

/** A file as it was opened; `inode` and `device` are undefined if there was none. */
export interface OwnFile {
  readonly file: string;
  readonly inode: number | undefined;
  readonly device: number | undefined;
}

/** The files of the open database; none of one in memory. */
export const ownFiles = (path: string): readonly OwnFile[] =>
  path === ':memory:' ? [] : [path, `${path}-wal`].map(fileNow);

/** Looks at them again, and throws store. */
export function ensureSameFiles(files: readonly OwnFile[]): void {
  for (const { file, inode, device } of files) {
    if (inode === undefined) continue;
    const now = fileNow(file);
    const what = `${file} was ${now.inode === undefined ? 'removed' : 'replaced'} while the CA was running`;
    const advice =
      'nothing is signed any more. Stop the CA, put the right database in place, and start it again';
    ensure(now.inode === inode && now.device === device, 'store', `${what}: ${advice}`);
  }
}

function fileNow(file: string): OwnFile {
  const stats = statSync(file, { throwIfNoEntry: false });
  return { file, inode: stats?.ino, device: stats?.dev };
}
