/** Listens on a socket file, whose callers the kernel identifies. */
import net from 'node:net';
import type { Connections } from '../door/connections.ts';
import type { Log } from '../ground/log.ts';
import { type LivePeer, openPeer, peerOf } from '../unix/peer-credentials.ts';
import { listenPrivately, type PrivateSocket } from '../unix/private-socket.ts';
import type { Callers } from './callers.ts';
import { closerOf, type Listener } from './listener.ts';

/** Who has connected. */
export interface UnixPeer {
  /** For logs: "pid 1 uid 0". */
  readonly address: string;
  /** The process of the caller, released with the connection. */
  readonly peer: LivePeer;
  /** Keeps the connection from giving way to others until the returned function is called. */
  readonly answer: () => () => void;
}

export interface UnixListenOptions<C> extends PrivateSocket {
  /** Places for its connections, by uid. */
  readonly connections: Connections;
  readonly callerOf: (connected: UnixPeer) => C;
}

export interface UnixListenDeps<C> {
  readonly callers: Callers<C>;
  readonly inject: (socket: net.Socket) => void;
  readonly log: Log;
}

/** The caller closes it. Throws file, file_mode, unavailable. */
export async function listenUnix<C>(
  { connections, callerOf, ...at }: UnixListenOptions<C>,
  { callers, inject, log }: UnixListenDeps<C>,
): Promise<Listener> {
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', (error) => log.debug({ err: error }, 'connection failed'));
    try {
      // Its uid first: one that gets no place costs one descriptor, and one that is held costs three.
      const { uid } = peerOf(socket);
      const connection = connections.arrive(socket, { address: `uid ${uid}` });
      if (connection === undefined) return;
      const peer = openPeer(socket);
      const address = `pid ${peer.pid} uid ${peer.uid}`;
      const forget = callers.add(socket, callerOf({ address, peer, answer: () => connection.answer() }));
      socket.once('close', () => {
        forget();
        peer.close();
      });
      inject(socket);
      socket.resume();
    } catch (error) {
      log.warn({ err: error }, 'a caller on the socket could not be identified');
      socket.destroy();
    }
  });
  const close = closerOf(server);
  await listenPrivately(server, at);
  return { port: 0, close };
}
