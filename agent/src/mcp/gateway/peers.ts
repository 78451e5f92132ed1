/**
 * The gateway's connections: each peer is verified when it connects, may ask only while its certificate is valid, and
 * is cut, with every stream of its, when that ends, or when the bundle or the policy no longer know it.
 */
import type { TLSSocket } from 'node:tls';
import type { Clock } from '@chancery/shared/clock.ts';
import { ensure, type IdentityError, refusalOf } from '@chancery/shared/errors.ts';
import type { Source } from '@chancery/shared/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { verifyPeer } from '@chancery/shared/tls/peer.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/svid.ts';
import { cutAt } from '../wire/cut.ts';

export class Peers {
  readonly #open = new Map<TLSSocket, VerifiedSvid>();
  readonly #bundle: Source<Bundle>;
  readonly #clock: Clock;
  readonly #onRefused: (error: IdentityError) => void;

  constructor(bundle: Source<Bundle>, clock: Clock, onRefused: (error: IdentityError) => void) {
    this.#bundle = bundle;
    this.#clock = clock;
    this.#onRefused = onRefused;
  }

  /** After the handshake, before the first request. A stranger's connection is closed. */
  admit(socket: TLSSocket): void {
    try {
      const peer = verifyPeer(socket, this.#bundle.current(), this.#clock.now());
      this.#open.set(socket, peer);
      cutAt(socket, peer.notAfter, this.#clock);
      socket.once('close', () => this.#open.delete(socket));
    } catch (error) {
      this.#onRefused(refusalOf(error, 'no_peer', 'the peer could not be verified'));
      socket.destroy();
    }
  }

  /** Whose request this is. Throws no_peer, expired_peer. */
  of(socket: TLSSocket): VerifiedSvid {
    const peer = this.#open.get(socket);
    ensure(peer !== undefined, 'no_peer', 'a request on a connection that was not admitted');
    ensure(this.#clock.now() < peer.notAfter, 'expired_peer', `the certificate of ${peer.id} has expired`);
    return peer;
  }

  /** Cuts every connection whose peer `keeps` no longer. */
  cut(keeps: (peer: VerifiedSvid) => boolean): void {
    for (const [socket, peer] of this.#open) if (!keeps(peer)) socket.destroy();
  }

  /** After a new bundle: an authority that was taken out takes its peers along. */
  verifyAgain(): void {
    for (const socket of [...this.#open.keys()]) {
      try {
        verifyPeer(socket, this.#bundle.current(), this.#clock.now());
      } catch (error) {
        this.#onRefused(refusalOf(error, 'no_peer', 'the peer could not be verified again'));
        socket.destroy();
      }
    }
  }
}
