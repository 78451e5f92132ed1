/**
 * Leaves connections on which nothing was said in the kernel (TCP_DEFER_ACCEPT, tcp(7)): a flood of them costs the
 * process no turn and no descriptor, and does not stand before honest ones in the queue. Linux with glibc.
 */
import type { Server } from 'node:net';
import { openLibc } from '../unix/libc.ts';

// <netinet/in.h>, <netinet/tcp.h>
const IPPROTO_TCP = 6;
const TCP_DEFER_ACCEPT = 9;
/** The kernel rounds up to its own pauses, 31 s. Then it hands the connection over, silent as it is. */
const SECONDS = 30;

/**
 * For a server that listens and whose peers speak first. False if the kernel cannot do it; then silent connections
 * come as they are made, and have places of their own.
 */
export function deferAccept(server: Server): boolean {
  const { fd } = (server as unknown as { readonly _handle?: { readonly fd?: number } })._handle ?? {};
  if (fd === undefined || fd < 0) return false;
  try {
    const setsockopt = openLibc().func('int setsockopt(int, int, int, int *, uint32_t)');
    return setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, [SECONDS], 4) === 0;
  } catch {
    return false;
  }
}
