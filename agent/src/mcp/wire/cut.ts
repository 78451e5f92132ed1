/** The end of a certificate is the end of every connection that was made with it. */
import type { TLSSocket } from 'node:tls';
import type { Clock } from '@chancery/shared/clock.ts';

/** Ends a connection at an instant, whatever it is doing. */
export function cutAt(socket: TLSSocket, time: Date, clock: Clock): void {
  const closed = new AbortController();
  socket.once('close', () => closed.abort());
  clock.sleepUntil(time, closed.signal).then(
    () => socket.destroy(),
    () => {},
  );
}
