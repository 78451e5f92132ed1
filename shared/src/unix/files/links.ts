/** Checks the symbolic links on a path: the owner of a link decides where the path leads. */
import fs from 'node:fs';
import { dirname, resolve } from 'node:path';
import { geteuid } from 'node:process';
import { ensure, type Refusal } from '../../ground/errors.ts';

export interface Owners {
  readonly uids: readonly number[];
  readonly says: string;
  /** The code of the refusal. */
  readonly code: Refusal;
}

/** Root, which may change everything anyway, and the user of this process. */
export function ownOwners(code: Refusal): Owners {
  const own = geteuid?.() ?? -1;
  const says = own === 0 ? 'root' : `root or uid ${own}, the user of this process`;
  return { uids: [0, own], says, code };
}

/** path_resolution(7): Linux follows at most 40. */
const MAX_LINKS = 40;

/**
 * Throws the code unless each link on the path, and on the paths that its links point to, belongs to one of the owners.
 * Volumes of Kubernetes and systemd have links of root. Blocks.
 */
export function ensureLinks(path: string, owners: Owners): void {
  walk(resolve(path), owners, MAX_LINKS);
}

function walk(path: string, owners: Owners, left: number): void {
  ensure(left > 0, owners.code, `${path}: more than ${MAX_LINKS} links`);
  const parent = dirname(path);
  if (parent === path) return;
  walk(parent, owners, left);
  const found = fs.lstatSync(path, { throwIfNoEntry: false });
  if (found?.isSymbolicLink() !== true) return;
  ensureOwner(found.uid, `the link ${path}`, owners);
  walk(resolve(fs.realpathSync(parent), fs.readlinkSync(path)), owners, left - 1);
}

/** Throws the code of `owners` unless `uid` is one of them; `what` names the file. */
export function ensureOwner(uid: number, what: string, { uids, says, code }: Owners): void {
  ensure(uids.includes(uid), code, `${what} belongs to uid ${uid}; expected ${says}`);
}
