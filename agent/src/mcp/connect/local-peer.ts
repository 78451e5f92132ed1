/**
 * Finds the user that connects to a local listener, by the kernel. A unix socket has peer credentials; for loopback
 * TCP, Linux knows the owner of the caller's socket. On other systems the owner of a TCP connection is not known: use
 * the unix socket there.
 */
import type { Socket } from 'node:net';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { BY_MODE, ownCallers } from '@chancery/shared/unix/own-callers.ts';
import { canNamePeers } from '@chancery/shared/unix/peer-credentials.ts';
import { tcpOwnerOf } from '@chancery/shared/unix/socket-owner.ts';

export interface LocalPeers {
  readonly uid: number;
  /** `process.platform`'s. */
  readonly platform: NodeJS.Platform;
  readonly log: Log;
  /** Whether the kernel is asked; by default where that is possible. */
  readonly namesPeers?: boolean | undefined;
}

type EnsureOwn = (socket: Socket) => void;

/** For a unix socket that listens already. What it returns throws peer_unknown, peer_uid. Throws file_mode. Blocks. */
export function unixCallers(path: string, { uid, log, namesPeers }: LocalPeers): EnsureOwn {
  const { named, ensureOwn } = ownCallers(path, [uid], namesPeers);
  if (!named) log.warn({ socket: path }, BY_MODE);
  return ensureOwn;
}

/**
 * For a port of 127.0.0.1. What it returns throws peer_unknown, peer_uid. Throws unavailable on a Linux that cannot be
 * asked: a port has no mode.
 */
export function tcpCallers({ uid, platform, namesPeers = canNamePeers() }: LocalPeers): EnsureOwn {
  if (platform !== 'linux') return () => {};
  ensure(namesPeers, 'unavailable', NEEDS_KERNEL);
  return (socket) => {
    const peer = tcpOwnerOf(socket);
    ensure(peer === uid, 'peer_uid', `the caller is uid ${peer}, not ${uid}`);
  };
}

const NEEDS_KERNEL =
  'a port needs koffi and glibc, to ask the kernel for its callers; use standard input and output, or unix:PATH';
