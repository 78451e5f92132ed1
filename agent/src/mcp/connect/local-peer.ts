/**
 * Finds the user that connects to a local listener, by the kernel. A unix socket has peer credentials; for loopback
 * TCP, Linux knows the owner of the caller's socket. On other systems the owner of a TCP connection is not known: use
 * the unix socket there.
 */
import type { Socket } from 'node:net';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { peerOf } from '@chancery/shared/unix/peer-credentials.ts';
import { tcpOwnerOf } from '@chancery/shared/unix/socket-owner.ts';

/** Throws peer_unknown, peer_uid. `platform` is `process.platform`'s. */
export function ensureOwnUser(socket: Socket, uid: number, platform: NodeJS.Platform): void {
  const local = socket.remoteAddress === undefined;
  if (!local && platform !== 'linux') return;
  const peer = local ? peerOf(socket).uid : tcpOwnerOf(socket);
  ensure(peer === uid, 'peer_uid', `the caller is uid ${peer}, not ${uid}`);
}
