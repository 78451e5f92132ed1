/** Connections by the key under which grpc-js names their peer. */
import { IdentityError } from '../ground/errors.ts';

/**
 * `C` is what a door knows of the peer of a connection. A key is a number of ours and never reused, so a call cannot be
 * taken for one on another connection.
 */
export class Callers<C> {
  readonly #byKey = new Map<string, C>();
  #next = 1;

  /** How many connections are marked. */
  get size(): number {
    return this.#byKey.size;
  }

  /**
   * Marks the socket with an address that grpc-js will report (a port of 0 it would leave out); returns the
   * way to forget it.
   */
  add(socket: object, caller: C): () => void {
    const key = `caller-${this.#next}`;
    this.#next += 1;
    this.#byKey.set(key, caller);
    Object.defineProperty(socket, 'remoteAddress', { value: key });
    Object.defineProperty(socket, 'remotePort', { value: 1 });
    return () => this.#byKey.delete(key);
  }

  /** Undefined once the connection is gone. */
  at(socket: object): C | undefined {
    return this.#byKey.get(String(Reflect.get(socket, 'remoteAddress')));
  }

  /** `peer` as grpc-js gives it: "key:port". Undefined once the connection is gone. */
  find(peer: string): C | undefined {
    return this.#byKey.get(peer.slice(0, peer.lastIndexOf(':')));
  }

  /** As `find`. Throws no_peer once the connection is gone. */
  of(peer: string): C {
    const caller = this.find(peer);
    if (caller === undefined) throw new IdentityError('no_peer', 'the connection is gone');
    return caller;
  }
}
