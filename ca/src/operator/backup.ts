/** The operator's verb that copies the database for a backup. */
import type { FileStore } from '../store/file-store.ts';
import { type VerbDeps, writing } from './verb.ts';

export interface BackupDeps extends VerbDeps {
  readonly store: FileStore;
  /** Where copies are written. Who asks for one is on this machine, and removes it. */
  readonly copyPath: string;
}

/** Resolves when the copy is whole. One at a time. Throws store. */
export const backupVerbs = (deps: BackupDeps) => ({
  copyDatabase: writing<undefined, void>(
    {
      name: 'copyDatabase',
      about: () => 'for a backup',
      run: () => deps.store.copyTo(deps.copyPath),
    },
    deps,
  ),
});
