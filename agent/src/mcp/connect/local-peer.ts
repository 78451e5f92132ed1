/**
 * Finds the user that connects to a local listener, by the kernel. A unix socket has peer credentials; for loopback
 * TCP, Linux knows the owner of the caller's socket. On other systems the owner of a TCP connection is not known: use
 * the unix socket there.
 */
import { isIPv4, type Socket } from 'node:net';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { peerOf } from '@chancery/shared/unix/peer-credentials.ts';
import { tcpOwner } from '@chancery/shared/unix/socket-owner.ts';

/** Throws peer_unknown, peer_uid. `platform` is `process.platform`'s. */
export function ensureOwnUser(socket: Socket, uid: number, platform: NodeJS.Platform): void {
  const local = socket.remoteAddress === undefined;
  if (!local && platform !== 'linux') return;
  const peer = local ? peerOf(socket).uid : tcpOwnerOf(socket);
  ensure(peer === uid, 'peer_uid', `the caller is uid ${peer}, not ${uid}`);
}

type AddressKey = 'remoteAddress' | 'remotePort' | 'localAddress' | 'localPort';

/**
 * Looks for an IPv4 socket, since the listener is on 127.0.0.1. The kernel finds a caller's IPv6 socket with mapped
 * addresses, too. Throws peer_unknown.
 */
export function tcpOwnerOf({ remoteAddress, remotePort, localAddress, localPort }: Pick<Socket, AddressKey>) {
  const [caller, listener] = [bytesOf(remoteAddress), bytesOf(localAddress)];
  const ports = remotePort !== undefined && localPort !== undefined;
  ensure(caller !== undefined && listener !== undefined && ports, 'peer_unknown', 'the socket is closed');
  return tcpOwner({
    family: 'IPv4',
    localAddress: caller,
    localPort: remotePort,
    remoteAddress: listener,
    remotePort: localPort,
  });
}

function bytesOf(address: string | undefined): Uint8Array | undefined {
  const plain = address?.replace(/^::ffff:/i, '');
  return plain !== undefined && isIPv4(plain) ? Uint8Array.from(plain.split('.').map(Number)) : undefined;
}
