/** Whether the database's files are still those that were opened: what goes into a removed file is lost. */
import { type Stats, statSync } from 'node:fs';
import { ensure } from '@chancery/shared/ground/errors.ts';

/** Remembers the files of the open database. What it returns looks at them again and throws store. */
export function sameFiles(path: string): () => void {
  if (path === ':memory:') return () => {};
  const opened = [path, `${path}-wal`].map((file) => ({ file, stats: statsOf(file) }));
  return () => {
    for (const { file, stats } of opened) {
      const now = statsOf(file);
      const same = stats === undefined || (now?.ino === stats.ino && now.dev === stats.dev);
      const what = `${file} was ${now === undefined ? 'removed' : 'replaced'} while the CA was running`;
      const advice =
        'nothing is signed any more. Stop the CA, put the right database in place, and start it again';
      ensure(same, 'store', `${what}: ${advice}`);
    }
  };
}

const statsOf = (file: string): Stats | undefined => statSync(file, { throwIfNoEntry: false });
