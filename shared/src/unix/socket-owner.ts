/**
 * The owner of the other end of a loopback TCP connection. The kernel is asked about that one socket (sock_diag(7)) and
 * finds it by its hash, so the cost does not grow with the number of connections. Linux with glibc.
 */
import { isIPv4, type Socket } from 'node:net';
import { ensure, IdentityError } from '../ground/errors.ts';
import { openLibc } from './libc.ts';

/** Both ends of a connection. The local one is the end whose owner is wanted. */
interface TcpEnds {
  readonly family: 'IPv4' | 'IPv6';
  readonly localAddress: Uint8Array;
  readonly localPort: number;
  readonly remoteAddress: Uint8Array;
  readonly remotePort: number;
}

// <linux/netlink.h>, <linux/sock_diag.h>, <linux/inet_diag.h>, <asm-generic/socket.h>
const AF_NETLINK = 16;
const SOCK_DGRAM_CLOEXEC = 0o2000002;
const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_REQUEST = 1;
const MSG_DONTWAIT = 0x40;
const [AF_INET, AF_INET6] = [2, 10];
const IPPROTO_TCP = 6;
/** <net/tcp_states.h>: open, and closed for writing by its owner, who may still read. */
const [ESTABLISHED, FIN_WAIT1, FIN_WAIT2] = [1, 4, 5];
const HEADER = 16;
const SEQUENCE_AT = 8;
const REQUEST = 56;
/** Of `struct inet_diag_msg`, behind the header. */
const UID_AT = HEADER + 64;
const INODE_AT = HEADER + 68;
const STATE_AT = HEADER + 1;

type AddressKey = 'remoteAddress' | 'remotePort' | 'localAddress' | 'localPort';

/**
 * The uid of the owner of a caller's socket, at a listener on 127.0.0.1: it looks for an IPv4 socket, and the kernel
 * finds a caller's IPv6 socket with mapped addresses, too. Throws peer_unknown.
 */
export function tcpOwnerOf({
  remoteAddress,
  remotePort,
  localAddress,
  localPort,
}: Pick<Socket, AddressKey>): number {
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

/**
 * The uid of the owner. Throws peer_unknown if there is no such socket, or if its owner has closed it: then the kernel
 * may say uid 0. A closed socket has inode 0, and the kernel reads the inode after the uid. A socket that is shut down
 * for writing only still has an owner. Does not wait.
 */
function tcpOwner(ends: TcpEnds): number {
  const { libc, fd } = opened();
  sequence = (sequence + 1) >>> 0;
  const request = requestFor(ends);
  const sent = libc.send(fd, request, request.length, 0);
  ensure(sent === request.length, 'peer_unknown', 'the kernel refused a request about sockets (sock_diag)');
  const answer = Buffer.alloc(1_024);
  let length: number;
  // The kernel answers before send(2) returns. Answers to earlier questions are skipped.
  do length = libc.recv(fd, answer, answer.length, MSG_DONTWAIT);
  while (length >= HEADER && answer.readUInt32LE(SEQUENCE_AT) !== sequence);
  const found = length >= INODE_AT + 4 && answer.readUInt16LE(4) === SOCK_DIAG_BY_FAMILY;
  ensure(found, 'peer_unknown', "the kernel does not know the caller's socket");
  const state = answer[STATE_AT];
  const isHeld = answer.readUInt32LE(INODE_AT) !== 0;
  const isOpen = state === ESTABLISHED || state === FIN_WAIT1 || state === FIN_WAIT2;
  ensure(isHeld && isOpen, 'peer_unknown', 'the caller has closed its socket');
  return answer.readUInt32LE(UID_AT);
}

/** `struct nlmsghdr` and `struct inet_diag_req_v2`; ports and addresses are in network order. */
function requestFor({ family, localAddress, localPort, remoteAddress, remotePort }: TcpEnds): Buffer {
  const request = Buffer.alloc(HEADER + REQUEST);
  request.writeUInt32LE(request.length, 0);
  request.writeUInt16LE(SOCK_DIAG_BY_FAMILY, 4);
  request.writeUInt16LE(NLM_F_REQUEST, 6);
  request.writeUInt32LE(sequence, SEQUENCE_AT);
  request[HEADER] = family === 'IPv4' ? AF_INET : AF_INET6;
  request[HEADER + 1] = IPPROTO_TCP;
  request.writeUInt32LE(0xffffffff, HEADER + 4);
  request.writeUInt16BE(localPort, HEADER + 8);
  request.writeUInt16BE(remotePort, HEADER + 10);
  request.set(localAddress, HEADER + 12);
  request.set(remoteAddress, HEADER + 28);
  // No interface, and any cookie (INET_DIAG_NOCOOKIE).
  request.fill(0xff, HEADER + 48);
  return request;
}

interface Libc {
  socket(family: number, type: number, protocol: number): number;
  send(fd: number, bytes: Buffer, length: number, flags: number): number;
  recv(fd: number, bytes: Buffer, length: number, flags: number): number;
}

let sequence = 0;
let kept: { readonly libc: Libc; readonly fd: number } | undefined;

/** One netlink socket for the life of the process, opened at the first question. */
function opened(): { readonly libc: Libc; readonly fd: number } {
  if (kept !== undefined) return kept;
  const libc = loadLibc();
  const fd = libc.socket(AF_NETLINK, SOCK_DGRAM_CLOEXEC, NETLINK_SOCK_DIAG);
  ensure(fd >= 0, 'peer_unknown', 'cannot open a netlink socket (sock_diag)');
  kept = { libc, fd };
  return kept;
}

function loadLibc(): Libc {
  try {
    const { func } = openLibc();
    return {
      socket: func('int socket(int, int, int)'),
      send: func('long send(int, uint8_t *, unsigned long, int)'),
      recv: func('long recv(int, _Out_ uint8_t *, unsigned long, int)'),
    };
  } catch (error) {
    throw new IdentityError('peer_unknown', 'the owner of a socket needs glibc on Linux', { cause: error });
  }
}
