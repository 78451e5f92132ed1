/** The folder for the agent's private key and its socket. */
import { lstatSync, statSync } from 'node:fs';
import { geteuid } from 'node:process';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { makeFolder } from '@chancery/shared/unix/files/make-folder.ts';

/**
 * Makes the folder, 0700, or checks the one that is there: the owner of the folder, or of a link to it, can read the
 * key in it and answer on the socket. Blocks. Throws file, file_mode.
 */
export function prepareDataDir(dataDir: string): void {
  try {
    makeFolder(dataDir, 0o700);
  } catch (error) {
    throw new IdentityError('file', `dataDir cannot be made: ${String(error)}`, { cause: error });
  }
  const { mode, uid } = statSync(dataDir);
  ensure((mode & 0o077) === 0, 'file_mode', `${dataDir} is open to others: chmod 700 ${dataDir}`);
  for (const owner of [uid, lstatSync(dataDir).uid])
    ensure(owner === 0 || owner === geteuid?.(), 'file_mode', `${dataDir} belongs to uid ${owner}`);
}
