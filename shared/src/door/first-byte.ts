/**
 * Gives a TCP connection to its server at the peer's first byte. A silent connection costs a socket and a place, but no
 * TLS.
 */
import type { Socket } from 'node:net';

/**
 * How long a TLS port waits for the first byte, and again for the end of the handshake: two round trips and a few
 * milliseconds of work.
 */
export const HANDSHAKE_MS = 5_000;
/** Connections that the kernel may hold while many arrive at once. It uses its own limit if that is lower. */
export const BACKLOG = 4_096;

/** Calls `spoken` once, when the first byte is in the socket's buffer. A socket that ends or is late is reset. */
export function onFirstByte(socket: Socket, ms: number, spoken: () => void): void {
  const end = (): void => void socket.resetAndDestroy();
  const look = (): void => {
    socket.off('readable', look).off('timeout', end).setTimeout(0);
    // The end of what the peer sends makes a socket readable, too.
    if (socket.readableLength === 0) end();
    else spoken();
  };
  socket.on('readable', look).setTimeout(ms, end);
}
