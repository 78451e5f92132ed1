/** What the ports and sockets of gRPC doors share: how they close. */
import type net from 'node:net';

export interface Listener {
  /** 0 for a socket file. */
  readonly port: number;
  /** Takes no more connections; resolves when all are closed, within seconds. */
  close(): Promise<void>;
}

/** From the start of closing on; calls have ended or were cut before. */
const CUT_AFTER_MS = 3_000;

/**
 * Returns a function that closes a server. Call this before the server listens. It cuts every connection that is left,
 * so that none keeps the process alive. `stop` runs first.
 */
export function closerOf(server: net.Server, stop: () => void = () => {}): () => Promise<void> {
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket: net.Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return async () => {
    stop();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const cut = setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, CUT_AFTER_MS);
    await closed;
    clearTimeout(cut);
  };
}
