/**
 * Who dials a local listener, as the kernel knows it. A unix socket has peer credentials; for loopback TCP on Linux the
 * kernel is asked for the owner of the caller's socket. Elsewhere a TCP caller cannot be told, and the unix socket is
 * the one to use.
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
 * The listener is on 127.0.0.1, so IPv4 is asked for; the kernel finds a caller's IPv6 socket with mapped addresses
 * under that, too. Throws peer_unknown.
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
