/** How soon a connection notices that the network has forgotten it: a NAT or a firewall drops a flow without a word. */
import type { Socket } from 'node:net';
import { openLibc } from '@chancery/shared/unix/libc.ts';

/** Without a byte for so long the kernel asks, then once a second; ten questions without an answer end it. */
export const KEEPALIVE_MS = 30_000;

interface Loss {
  /** How long the other kernel may acknowledge nothing. */
  readonly silentMs: number;
  readonly lookMs: number;
}

/** As long as keepalive takes. */
const LOSS: Loss = { silentMs: KEEPALIVE_MS + 10_000, lookMs: 10_000 };

const watched = new WeakSet<Socket>();

/**
 * Gives a connection keepalive, and ends it where bytes that were sent stay unacknowledged for as long as keepalive
 * takes: they stop keepalive, and the kernel sends them again for a quarter of an hour. A peer that acknowledges and
 * does not read stays, which TCP_USER_TIMEOUT would end (tcp(7)). Keepalive alone where there is no Linux or glibc.
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

/** As the kernel says it where keepalive ends a connection. */
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

/** Of one alone nothing follows: it may be lost, and Linux leaves one in half a second unanswered. */
const MIN_ASKED = 2;

/**
 * How long nothing was acknowledged, 0 where nothing was sent since; undefined where the kernel has no word: no TCP, no
 * Linux, no glibc, or a closed socket.
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
