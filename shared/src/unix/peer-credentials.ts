/**
 * Kernel-verified credentials of the peer on a unix socket: SO_PEERCRED, and SO_PEERPIDFD if the kernel has it. They
 * prove pid, uid and gid at connect(2), and do not follow a later exec or a descriptor that is passed on.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { ensure, IdentityError, isRefusal, refusalOf } from '../ground/errors.ts';
import { openLibc } from './libc.ts';

export interface KernelPeer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** A peer with descriptors of its process, so that another process with its pid is not taken for it. */
export interface LivePeer extends KernelPeer {
  /** Throws peer_gone once the process has exited, or its pid names another one. */
  ensureStillThere(): void;
  /** Frees the descriptors; ensureStillThere throws from then on. */
  close(): void;
}

// <asm-generic/socket.h>, socket(7)
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
/** Linux 6.5; older kernels answer ENOPROTOOPT. */
const SO_PEERPIDFD = 77;
const ENOPROTOOPT = 92;
const EINTR = 4;
const POLLIN = 1;

/** Reads the peer of a connected unix socket. Throws peer_unknown. */
export function peerOf(socket: Socket): KernelPeer {
  const fd = descriptorOf(socket);
  const ucred = socketOption(fd, SO_PEERCRED, 12);
  ensure(ucred !== undefined, 'peer_unknown', 'the kernel names no peer for this socket');
  const peer = { pid: ucred.readInt32LE(0), uid: ucred.readUInt32LE(4), gid: ucred.readUInt32LE(8) };
  // 0 stands for a process outside our pid namespace, and for a TCP socket.
  ensure(peer.pid > 0, 'peer_unknown', `the peer has no process that is seen from here (uid ${peer.uid})`);
  return peer;
}

/** Reads the peer and opens descriptors of its process. The caller closes it. Throws peer_unknown, peer_gone. */
export function openPeer(socket: Socket): LivePeer {
  const peer = peerOf(socket);
  const pidfd = pidfdOf(descriptorOf(socket), peer.pid);
  try {
    return holdProcess(peer, pidfd);
  } catch (error) {
    if (pidfd !== undefined) closeSync(pidfd);
    throw error;
  }
}

/**
 * A pidfd of the peer, which the caller closes. Undefined if the kernel is older than SO_PEERPIDFD. Throws peer_gone if
 * the peer has exited: another process may have the pid by now.
 */
export function pidfdOf(fd: number, pid: number): number | undefined {
  const pidfd = socketOption(fd, SO_PEERPIDFD, 4)?.readInt32LE(0);
  ensure(pidfd !== undefined || libc().errno() === ENOPROTOOPT, 'peer_gone', `process ${pid} has exited`);
  return pidfd;
}

/**
 * Opens the process of `peer.pid`. A `pidfd` shows whether that is still the process that connected; `close` closes it,
 * too. Throws peer_gone.
 */
export function holdProcess(peer: KernelPeer, pidfd: number | undefined): LivePeer {
  const proc = openProcess(peer.pid);
  try {
    const first = processAt(proc);
    const held = { ...peer, proc, pidfd, first };
    ensureSame(held);
    return livePeer(held);
  } catch (error) {
    closeSync(proc);
    throw error;
  }
}

interface HeldProcess extends KernelPeer {
  readonly proc: number;
  readonly pidfd: number | undefined;
  readonly first: ProcessMark;
}

/** What must not change while a peer is served. */
export interface ProcessMark {
  readonly startTime: string;
  readonly owner: number;
}

function livePeer(held: HeldProcess): LivePeer {
  let open = true;
  return {
    pid: held.pid,
    uid: held.uid,
    gid: held.gid,
    ensureStillThere() {
      ensure(open, 'peer_gone', `process ${held.pid} is no longer held`);
      ensureSame(held);
    },
    close() {
      if (!open) return;
      open = false;
      closeSync(held.proc);
      if (held.pidfd !== undefined) closeSync(held.pidfd);
    },
  };
}

function ensureSame({ pid, proc, pidfd, first }: HeldProcess): void {
  if (pidfd !== undefined) ensure(!hasExited(pidfd), 'peer_gone', `process ${pid} has exited`);
  ensureSameProcess(pid, first, processAt(proc));
}

/** Throws peer_gone if the process is another one by now, or has another owner. */
export function ensureSameProcess(pid: number, first: ProcessMark, now: ProcessMark): void {
  ensure(now.startTime === first.startTime, 'peer_gone', `pid ${pid} names another process now`);
  ensure(now.owner === first.owner, 'peer_gone', `process ${pid} has changed its owner`);
}

/** Reads through the open directory: that fails once the process has exited, even if another one has its pid. */
function processAt(proc: number): ProcessMark {
  try {
    const stat = readFileSync(`/proc/self/fd/${proc}/stat`, 'latin1');
    return { startTime: startTimeOf(stat), owner: fstatSync(proc).uid };
  } catch (error) {
    throw refusalOf(error, 'peer_gone', 'the peer has exited');
  }
}

/**
 * The start time in clock ticks since boot (proc_pid_stat(5), field 22). Field 2 is the command in brackets and may
 * hold any byte, brackets too. Throws peer_gone.
 */
export function startTimeOf(stat: string): string {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const startTime = fields[19];
  ensure(startTime !== undefined && /^\d+$/.test(startTime), 'peer_gone', 'the peer has no start time');
  return startTime;
}

function openProcess(pid: number): number {
  try {
    return openSync(`/proc/${pid}`, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw new IdentityError('peer_gone', `process ${pid} has exited`, { cause: error });
  }
}

/** Node has no public API for a socket's descriptor; libuv's handle has had `fd` since Node 0.12. */
function descriptorOf(socket: Socket): number {
  const { _handle } = socket as unknown as { _handle?: { fd?: number } };
  const fd = _handle?.fd;
  ensure(fd !== undefined && fd >= 0, 'peer_unknown', 'the socket is closed');
  return fd;
}

/** pidfd_open(2): a pidfd polls readable once its process has terminated, before and after it is reaped. */
function hasExited(pidfd: number): boolean {
  const pollfd = Buffer.alloc(8);
  pollfd.writeInt32LE(pidfd, 0);
  pollfd.writeInt16LE(POLLIN, 4);
  for (;;) {
    const ready = libc().poll(pollfd, 1, 0);
    // A signal to this process, such as a profiler's, does not concern the peer.
    if (ready >= 0 || libc().errno() !== EINTR) return ready !== 0;
  }
}

function socketOption(fd: number, option: number, length: number): Buffer | undefined {
  const value = Buffer.alloc(length);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(length);
  const failed = libc().getsockopt(fd, SOL_SOCKET, option, value, size) !== 0;
  return failed || size.readUInt32LE() !== length ? undefined : value;
}

interface Libc {
  getsockopt(fd: number, level: number, option: number, value: Buffer, length: Buffer): number;
  poll(fds: Buffer, count: number, timeout: number): number;
  /** Of the last call that failed. */
  errno(): number;
}

let loaded: Libc | undefined;

/** Whether the kernel can be asked at all: Linux with glibc, and the native module. Loads native code. */
export function canNamePeers(): boolean {
  try {
    libc();
    return true;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return false;
  }
}

/** Loaded at the first call: a process that serves no unix socket does not need the native library. */
function libc(): Libc {
  loaded ??= loadLibc();
  return loaded;
}

function loadLibc(): Libc {
  try {
    const { func, errno } = openLibc();
    return {
      getsockopt: func('int getsockopt(int, int, int, _Inout_ uint8_t *, _Inout_ uint8_t *)'),
      poll: func('int poll(_Inout_ uint8_t *, unsigned long, int)'),
      errno,
    };
  } catch (error) {
    throw new IdentityError('peer_unknown', 'peer credentials need glibc on Linux', { cause: error });
  }
}
