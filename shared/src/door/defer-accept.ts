/**
 * Keeps silent connections in the kernel (TCP_DEFER_ACCEPT, tcp(7)): a flood of them costs the process neither time nor
 * descriptors, and does not delay honest connections in the queue. Linux with glibc.
 */
import type { Server } from 'node:net';
import { openLibc } from '../unix/libc.ts';

// <netinet/in.h>, <netinet/tcp.h>
const IPPROTO_TCP = 6;
const TCP_DEFER_ACCEPT = 9;
/** The kernel rounds this up to 31 s, and then hands over even a silent connection. */
const SECONDS = 30;

/**
 * For a listening server whose peers speak first. False if the kernel cannot do it: then silent connections arrive at
 * once, and have places of their own.
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
