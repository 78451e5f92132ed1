/** Bounds idle local connections: when there are too many, the one that has been idle longest is closed. */
import type { Socket } from 'node:net';

/** Closes connections by destroying their sockets. It does not keep the process alive. */
export class IdleConnections {
  readonly #most: number;
  /** The one that has been idle longest is the first. */
  readonly #idle = new Set<Socket>();
  readonly #asked = new WeakMap<Socket, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Adds a new connection, which is idle. */
  add(socket: Socket): void {
    socket.once('close', () => this.#idle.delete(socket));
    this.#rest(socket);
  }

  /**
   * A request has come. The caller calls the returned function when the answer is complete. A client may send another
   * request before that.
   */
  ask(socket: Socket): () => void {
    this.#idle.delete(socket);
    this.#asked.set(socket, (this.#asked.get(socket) ?? 0) + 1);
    return () => {
      const left = (this.#asked.get(socket) ?? 1) - 1;
      this.#asked.set(socket, left);
      if (left === 0 && !socket.destroyed) this.#rest(socket);
    };
  }

  #rest(socket: Socket): void {
    this.#idle.add(socket);
    const [longest] = this.#idle;
    if (this.#idle.size <= this.#most || longest === undefined) return;
    this.#idle.delete(longest);
    longest.destroy();
  }
}
