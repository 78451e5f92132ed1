/** The folder for the agent's private key and its socket. */
import { lstatSync, statSync } from 'node:fs';
import { geteuid } from 'node:process';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { makeFolder } from '@chancery/shared/unix/files/make-folder.ts';
import { ensureNotLocked, type FolderLock, lockFolder } from '@chancery/shared/unix/folder-lock.ts';

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

const ONE_AGENT = 'one agent uses a dataDir at a time';

/**
 * Prepares the folder, and holds it for this agent until the lock is closed: two agents would write one state.json.
 * Blocks. Throws file, file_mode, and unavailable where another agent has it.
 */
export function holdDataDir(dataDir: string, log: Log): FolderLock {
  prepareDataDir(dataDir);
  const lock = lockFolder(dataDir, ONE_AGENT);
  if (lock !== undefined) return lock;
  log.info(
    { dataDir },
    'this system has no locks for folders: nothing keeps a second agent from this dataDir',
  );
  return { close: async () => {} };
}

/** Throws unavailable where an agent is seen that holds the folder, although its socket is missing. */
export function ensureNoAgent(dataDir: string): void {
  ensureNotLocked(dataDir, 'that agent has no agent.sock; restart it if this stays so');
}
