/**
 * The gateway's connections: each peer is verified when it connects, may ask only while its certificate is valid, and
 * is cut, with every stream of its, when that ends or is revoked, or when the bundle or the policy no longer know it.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { Clock } from '@chancery/shared/clock.ts';
import type { Connections } from '@chancery/shared/door/connections.ts';
import { shareKeys } from '@chancery/shared/door/keys.ts';
import { ensure, type IdentityError, refusalOf } from '@chancery/shared/errors.ts';
import { ensureNotRevoked, type RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Source } from '@chancery/shared/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { verifyPeer } from '@chancery/shared/tls/peer.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/svid.ts';
import { cutAt } from '../wire/cut.ts';

export interface PeersOptions {
  readonly bundle: Source<Bundle>;
  readonly revocations: Source<RevocationSet>;
  readonly clock: Clock;
  readonly connections: Connections;
  /** `peer` is undefined for a stranger. */
  readonly onRefused: (error: IdentityError, peer: VerifiedSvid | undefined, address: string) => void;
}

export class Peers {
  readonly #open = new Map<TLSSocket, VerifiedSvid>();
  readonly #options: PeersOptions;

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  /** After the handshake, before the first request. A stranger's connection is closed. */
  admit(socket: TLSSocket): void {
    const { bundle, clock } = this.#options;
    let peer: VerifiedSvid | undefined;
    try {
      peer = verifyPeer(socket, bundle.current(), clock.now());
      this.#ensureNotRevoked(peer);
      const place = this.#options.connections.of(socket)?.certify(peer.serial);
      // Already destroyed, or already gone; that is no refusal of this peer.
      if (place !== true) return;
      this.#open.set(socket, peer);
      cutAt(socket, peer.notAfter, clock);
      socket.once('close', () => this.#open.delete(socket));
    } catch (error) {
      this.#refuse(socket, error, peer);
    }
  }

  /** Whose request this is. Throws no_peer, expired_peer, revoked_peer. */
  of(socket: TLSSocket): VerifiedSvid {
    const peer = this.#open.get(socket);
    ensure(peer !== undefined, 'no_peer', 'a request on a connection that was not admitted');
    const expired = this.#options.clock.now() >= peer.notAfter;
    ensure(!expired, 'expired_peer', `the certificate of ${peer.id} has expired`);
    this.#ensureNotRevoked(peer);
    return peer;
  }

  /** A request is being answered until the returned function is called: its connection gives way to nobody. */
  answering(socket: TLSSocket): () => void {
    return this.#options.connections.of(socket)?.answer() ?? (() => {});
  }

  /** For a record of what is no request. */
  whoIs(socket: Duplex): VerifiedSvid | { readonly address: string } {
    const peer = socket instanceof TLSSocket ? this.#open.get(socket) : undefined;
    return peer ?? { address: addressOf(socket) };
  }

  /** After a revocation. */
  cutRevoked(): void {
    for (const [socket, peer] of [...this.#open]) {
      try {
        this.#ensureNotRevoked(peer);
      } catch (error) {
        this.#refuse(socket, error, peer);
      }
    }
  }

  /** Cuts every connection whose peer `keeps` no longer. */
  cut(keeps: (peer: VerifiedSvid) => boolean): void {
    for (const [socket, peer] of this.#open) if (!keeps(peer)) socket.destroy();
  }

  /** After a new bundle: an authority that was taken out takes its peers along. */
  verifyAgain(): void {
    const { bundle, clock } = this.#options;
    for (const socket of [...this.#open.keys()]) {
      try {
        verifyPeer(socket, bundle.current(), clock.now());
      } catch (error) {
        this.#refuse(socket, error, undefined);
      }
    }
  }

  #ensureNotRevoked(peer: VerifiedSvid): void {
    const { revocations, clock } = this.#options;
    ensureNotRevoked(revocations.current(), peer, clock.now());
  }

  #refuse(socket: TLSSocket, error: unknown, peer: VerifiedSvid | undefined): void {
    const refusal = refusalOf(error, 'no_peer', 'the peer could not be verified');
    this.#options.onRefused(refusal, peer, addressOf(socket));
    socket.destroy();
  }
}

/** Of a stranger: its IPv4 address, or the /48 of its IPv6 address, since one site has all addresses below that. */
export function addressOf(socket: Duplex): string {
  const address = socket instanceof Socket ? (socket.remoteAddress ?? '') : '';
  const { address: single, network } = shareKeys(address);
  return network ?? single;
}
