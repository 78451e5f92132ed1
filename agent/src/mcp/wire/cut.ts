/** The end of a certificate is the end of every connection that was made with it. */
import type { TLSSocket } from 'node:tls';
import type { Clock } from '@chancery/shared/clock.ts';

/** Ends a connection at an instant, whatever it is doing. */
export function cutAt(socket: TLSSocket, time: Date, clock: Clock): void {
  at(time, socket, clock, () => socket.destroy());
}

/** Acts at an instant, unless the connection has ended before. */
export function at(time: Date, socket: TLSSocket, clock: Clock, act: () => void): void {
  const closed = new AbortController();
  socket.once('close', () => closed.abort());
  clock.sleepUntil(time, closed.signal).then(act, () => {});
}
