/** Notices connections that the network has dropped: a NAT or a firewall drops a flow silently. */
import type { Socket } from 'node:net';
import { openLibc } from '@chancery/shared/unix/libc.ts';

/**
 * After this time without a byte the kernel sends a probe, then one per second. Ten unanswered probes end the
 * connection.
 */
export const KEEPALIVE_MS = 30_000;

interface Loss {
  /** How long sent bytes may stay unacknowledged. */
  readonly silentMs: number;
  readonly lookMs: number;
}

/** The time that keepalive takes. */
const LOSS: Loss = { silentMs: KEEPALIVE_MS + 10_000, lookMs: 10_000 };

const watched = new WeakSet<Socket>();

/**
 * Gives a connection keepalive, and ends it if sent bytes stay unacknowledged as long as keepalive takes: such bytes
 * stop keepalive, and the kernel retransmits them for a quarter of an hour. A peer that acknowledges without reading
 * stays connected; TCP_USER_TIMEOUT would end it (tcp(7)). Without Linux and glibc, keepalive alone.
 */
export function noticeLoss(socket: Socket, { silentMs, lookMs }: Loss = LOSS): void {
  if (watched.has(socket)) return;
  watched.add(socket);
  socket.setKeepAlive(true, KEEPALIVE_MS);
  const timer = setInterval(() => {
    const ms = socket.connecting ? 0 : unansweredMs(socket);
    if (ms === undefined) clearInterval(timer);
    else if (ms >= silentMs) socket.destroy(timedOut());
  }, lookMs);
  timer.unref();
  socket.once('close', () => clearInterval(timer));
}

/** The error that the kernel gives if keepalive ends a connection. */
const timedOut = (): Error =>
  Object.assign(new Error('read ETIMEDOUT'), { code: 'ETIMEDOUT', syscall: 'read' });

// <netinet/in.h>, <netinet/tcp.h>: the option, and where `struct tcp_info` has what
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const RETRANSMITS_AT = 2;
const PROBES_AT = 3;
const UNACKED_AT = 24;
const LAST_SENT_AT = 44;
const LAST_ACK_AT = 56;
const INFO_BYTES = 60;

/** One unanswered segment proves nothing: it may be lost, and Linux leaves one per half second unanswered. */
const MIN_ASKED = 2;

/**
 * How long nothing was acknowledged; 0 if nothing was sent since. Undefined if the kernel cannot say: no TCP, no Linux,
 * no glibc, or a closed socket.
 */
function unansweredMs(socket: Socket): number | undefined {
  const { fd } = (socket as unknown as { readonly _handle?: { readonly fd?: number } | null })._handle ?? {};
  if (fd === undefined || fd < 0) return undefined;
  const info = Buffer.alloc(INFO_BYTES);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(INFO_BYTES);
  if (tcpInfo(fd, info, size) !== 0 || size.readUInt32LE() < INFO_BYTES) return undefined;
  const lastAckMs = info.readUInt32LE(LAST_ACK_AT);
  const isUnderWay = info.readUInt32LE(UNACKED_AT) > 0 && info.readUInt32LE(LAST_SENT_AT) < lastAckMs;
  const sentAgain = isUnderWay ? (info[RETRANSMITS_AT] ?? 0) : 0;
  return Math.max(sentAgain, info[PROBES_AT] ?? 0) >= MIN_ASKED ? lastAckMs : 0;
}

interface Kernel {
  getsockopt(fd: number, level: number, option: number, value: Buffer, length: Buffer): number;
}

let kernel: Kernel | undefined;

function tcpInfo(fd: number, info: Buffer, size: Buffer): number {
  try {
    kernel ??= {
      getsockopt: openLibc().func('int getsockopt(int, int, int, _Inout_ uint8_t *, _Inout_ uint8_t *)'),
    };
    return kernel.getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, size);
  } catch {
    return -1;
  }
}
