/**
 * A unix socket of this process. Nobody else may change its folder, it never replaces a socket that another process
 * serves, and it has its mode before the first caller can connect.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import { dirname, join } from 'node:path';
import { umask } from 'node:process';
import { ensure, IdentityError, refusalOf } from '../ground/errors.ts';
import { cannotListen } from '../text/listening.ts';
import { socketPathProblem } from '../text/socket-path.ts';
import { systemSentence } from '../text/system-sentence.ts';
import { ensureOwner, ownOwners } from './files/links.ts';
import { ensurePrivateFolder } from './files/safe-folder.ts';
import { peerOf } from './peer-credentials.ts';

export interface PrivateSocket {
  readonly path: string;
  /** Who may connect, as chmod(2) has it: 0o600, or 0o666 for every user of this machine. */
  readonly mode: number;
  /** What an operator should do if another process serves the path. */
  readonly advice: string;
  /** How many callers the kernel queues until they are accepted; 511 by default, as in Node. */
  readonly backlog?: number;
}

/**
 * Resolves once `server` listens at the path. The file is removed when the server has closed, if it is still the one
 * that was made here. A socket that a process left behind is replaced. Throws file_mode if others may change the
 * folder, file if something else is at the path, and unavailable if a process serves it or the path cannot be bound.
 */
export async function listenPrivately(server: net.Server, socket: PrivateSocket): Promise<void> {
  const { path, advice } = socket;
  const folder = dirname(path);
  // libuv says EACCES where bind(2) says ENOENT.
  ensure(fs.existsSync(folder), 'unavailable', `cannot listen on ${path}: its folder does not exist`);
  ensurePrivateFolder(folder);
  ensureNothingElse(path);
  const tooLong = socketPathProblem(path);
  ensure(tooLong === undefined, 'unavailable', `cannot listen on ${path}: ${tooLong}`);
  await removeDead(path, advice);
  await bind(server, socket);
}

/** Throws file unless the path is free or has a socket of root or of this user. A link is refused. Blocks. */
export function ensureNothingElse(path: string): void {
  const found = fs.lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  ensure(found.isSocket(), 'file', `${path} is in the way and is not a socket`);
  ensureOwner(found.uid, `the socket ${path}`, ownOwners('file'));
}

/**
 * Two processes may find the same dead socket: the slower one must not remove the new socket of the faster one. So the
 * file is renamed first, and then compared with the one that was found.
 */
async function removeDead(path: string, advice: string): Promise<void> {
  const found = look(path);
  if (found === undefined) return;
  await ensureDead(path, advice);
  const aside = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    fs.renameSync(path, aside);
  } catch (error) {
    if (isMissing(error)) return;
    throw new IdentityError('file', `${path} could not be replaced: ${says(error)}`, { cause: error });
  }
  if (look(aside) !== found) {
    fs.linkSync(aside, path);
    fs.unlinkSync(aside);
    throw justBegun(path, advice);
  }
  fs.unlinkSync(aside);
}

/**
 * Identifies a file by device, inode and modification time, because inodes are used again. Undefined if there is none.
 */
function look(path: string): string | undefined {
  const found = fs.lstatSync(path, { throwIfNoEntry: false, bigint: true });
  return found && `${found.dev} ${found.ino} ${found.mtimeNs}`;
}

/**
 * unix(7): connect(2) is refused only if no process listens. A process that is stopped, or whose queue is full, still
 * serves its socket. If this user may not connect, the socket is taken as served.
 */
async function ensureDead(path: string, advice: string): Promise<void> {
  const probe = net.connect(path);
  try {
    const answer = await new Promise<Error | undefined>((resolve) => {
      probe.once('connect', () => resolve(undefined)).once('error', resolve);
    });
    if (hasCode(answer, 'ECONNREFUSED') || isMissing(answer)) return;
    const who =
      answer === undefined ? servedBy(probe) : `another process may serve ${path} (${says(answer)})`;
    throw new IdentityError('unavailable', `${who}: ${advice}`, { cause: answer });
  } finally {
    probe.destroy();
  }

  function servedBy(connected: net.Socket): string {
    try {
      return `another process (pid ${peerOf(connected).pid}) serves ${path}`;
    } catch {
      return `another process serves ${path}`;
    }
  }
}

/**
 * Binds a name of its own and links it to `path`: when libuv closes, it removes the name that it has bound, even if
 * another file has that name by then. bind(2) makes the file with the mode that the umask leaves.
 */
function bind(server: net.Server, { path, mode, advice, backlog }: PrivateSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    const bound = ownName(path);
    const failed = (error: Error): void =>
      reject(new IdentityError('unavailable', cannotListen(path, error), { cause: error }));
    server.once('error', failed);
    const before = umask(0o777 & ~mode);
    try {
      server.listen({ path: bound, ...(backlog !== undefined && { backlog }) }, () => {
        server.off('error', failed);
        resolve();
      });
    } finally {
      umask(before);
    }
    // Node binds and listens at once.
    if (!server.listening) return;
    try {
      // A default ACL of the folder replaces the umask (acl(5)).
      fs.chmodSync(bound, mode);
      moveInPlace(server, { bound, path, advice });
    } catch (error) {
      server.close();
      reject(refusalOf(error, 'file', `${path} could not be made: ${says(error)}`));
    }
  });
}

/** Begins like `path`, so that ss(8) shows it to an operator who looks for `path`, unless that is too long. */
function ownName(path: string): string {
  const random = randomBytes(3).toString('hex');
  const name = `${path}.${random}`;
  return socketPathProblem(name) === undefined ? name : join(dirname(path), `.${random}`);
}

interface Place {
  readonly bound: string;
  readonly path: string;
  readonly advice: string;
}

/** link(2) never replaces a file. Throws unavailable if another process was faster. */
function moveInPlace(server: net.Server, { bound, path, advice }: Place): void {
  const own = look(bound);
  try {
    fs.linkSync(bound, path);
  } catch (error) {
    if (hasCode(error, 'EEXIST')) throw justBegun(path, advice);
    throw error;
  } finally {
    fs.unlinkSync(bound);
  }
  server.once('close', () => {
    if (look(path) === own) fs.unlinkSync(path);
  });
}

const justBegun = (path: string, advice: string): IdentityError =>
  new IdentityError('unavailable', `another process has just begun to serve ${path}: ${advice}`);
const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code;
const isMissing = (error: unknown): boolean => hasCode(error, 'ENOENT');
const says = (error: unknown): string => systemSentence(error) ?? String(error);
