/** Whether the database's files are still those that were opened: what goes into a removed file is lost. */
import { type Stats, statSync } from 'node:fs';
import { ensure } from '@chancery/shared/errors.ts';

/** `commit`, after a look at two files, which costs little beside the disk. What is returned throws store. */
export function onSameFiles(path: string, commit: () => void): () => void {
  if (path === ':memory:') return commit;
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
    commit();
  };
}

const statsOf = (file: string): Stats | undefined => statSync(file, { throwIfNoEntry: false });
