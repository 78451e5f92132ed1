/**
 * Callers of a unix socket that is for this user only. The kernel names each. Where it cannot be asked (another system
 * than Linux with glibc, or a program without its native module), the modes of the socket and its folder keep other
 * users out: connect(2) needs write permission on the one and search permission on the other (unix(7)).
 */
import fs from 'node:fs';
import type { Socket } from 'node:net';
import { dirname } from 'node:path';
import { ensure } from '../ground/errors.ts';
import { canNamePeers, peerOf } from './peer-credentials.ts';

export interface OwnCallers {
  /** False if the modes decide: then each caller counts as one of `uids`. */
  readonly named: boolean;
  /** Throws peer_unknown, peer_uid. */
  ensureOwn(socket: Socket): void;
}

/**
 * For a socket that listens already. `named` says whether the kernel is asked, by default where that is possible; it is
 * decided once, so that a failure of a later question is a refusal. Without it throws file_mode if another user could
 * connect. Blocks.
 */
export function ownCallers(path: string, uids: readonly number[], named = canNamePeers()): OwnCallers {
  if (named) return { named, ensureOwn: (socket) => ensureOneOf(peerOf(socket).uid, uids) };
  ensureClosed(path, 0o077);
  ensureClosed(dirname(path), 0o011);
  return { named, ensureOwn() {} };
}

function ensureOneOf(uid: number, uids: readonly number[]): void {
  ensure(uids.includes(uid), 'peer_uid', `uid ${uid} asked on the socket of uid ${uids[0]}`);
}

function ensureClosed(path: string, bits: number): void {
  const { mode } = fs.statSync(path);
  const says = `${path} has mode ${(mode & 0o777).toString(8)}: where the kernel cannot be asked for callers`;
  ensure((mode & bits) === 0, 'file_mode', `${says}, it must be closed to other users`);
}

/** What a program without peer credentials tells its log. */
export const BY_MODE =
  'the kernel cannot be asked for local callers (koffi, Linux and glibc are needed): the mode of the socket decides';
