/**
 * Connections to an MCP server that has an X.509-SVID: mutual TLS with our own, and exactly one SPIFFE ID. After a
 * change of our certificate or of the bundle, new requests use new connections. A revoked server is cut off at once,
 * with its open requests.
 */
import { Agent, type AgentOptions, type RequestOptions } from 'node:https';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect, TLSSocket } from 'node:tls';
import { ensure, IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import { ensureNotRevoked } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { verifyPeer } from '@chancery/shared/tls/peer.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { noticeLoss } from '../../wire/tcp.ts';
import type { SpiffeTrust } from '../upstream.ts';

const HANDSHAKE_MS = 10_000;

/** What is known of one connection. */
interface Link {
  readonly peer: VerifiedSvid;
  /** Our certificate and the bundle that it was made with. */
  readonly own: Svid;
  readonly bundle: Bundle;
}

type Where = RequestOptions & { readonly servername?: string };

/** The caller destroys it, which ends all its connections, also those of agents made by `forOne`. */
export class SpiffeAgent extends Agent {
  readonly #trust: SpiffeTrust;
  /** Shared with the agents of single requests. */
  readonly #links: Map<TLSSocket, Link>;
  readonly #stops: readonly (() => void)[];

  constructor(trust: SpiffeTrust, kept: AgentOptions, parent?: SpiffeAgent) {
    super({ ...kept, maxCachedSessions: 0 });
    this.#trust = trust;
    this.#links = parent === undefined ? new Map() : parent.#links;
    const { svid, bundle, revocations } = trust;
    this.#stops =
      parent === undefined
        ? [
            svid.onChange(() => this.#retire()),
            bundle.onChange(() => this.#retire()),
            revocations.onChange(() => this.#cutRevoked()),
          ]
        : [];
  }

  /** An agent that keeps no connection. */
  forOne(): Agent {
    return new SpiffeAgent(this.#trust, {}, this);
  }

  /** Node calls this if no connection is idle. No request gets the socket before its peer is verified. */
  override createConnection(
    where: Where,
    callback?: (error: Error | null, socket: Duplex) => void,
  ): Duplex | undefined {
    try {
      this.#connect(where, callback);
    } catch (error) {
      callback?.(refusalOf(error, 'internal', 'no connection could be begun'), new Socket());
    }
    return undefined;
  }

  /** Throws what the sources throw while they have no value. */
  #connect(
    { host, port, servername }: Where,
    callback?: (error: Error | null, socket: Duplex) => void,
  ): void {
    const [own, bundle] = [this.#trust.svid.current(), this.#trust.bundle.current()];
    // `#admit` compares the SPIFFE ID; the name in the address is not verified.
    const checkServerIdentity = () => undefined;
    const tls = clientTls(own, bundle);
    const name = servername === undefined || servername === '' ? {} : { servername };
    const socket = connect({
      ...tls,
      ...name,
      host: host ?? '',
      port: Number(port || 443),
      checkServerIdentity,
    });
    const late = new IdentityError('unavailable', `no TLS handshake within ${HANDSHAKE_MS / 1000} s`);
    const deadline = setTimeout(() => socket.destroy(late), HANDSHAKE_MS);
    let pending = true;
    const settle = (error: Error | null): void => {
      clearTimeout(deadline);
      if (pending) callback?.(error, socket);
      pending = false;
    };
    socket.on('error', settle);
    socket.once('close', () => {
      this.#links.delete(socket);
      settle(new IdentityError('unavailable', 'the connection closed during the handshake'));
    });
    noticeLoss(socket);
    socket.once('secureConnect', () => {
      try {
        const peer = this.#admit(socket);
        this.#links.set(socket, { peer, own, bundle });
        this.#endIdle(socket, peer);
        settle(null);
      } catch (error) {
        settle(refusalOf(error, 'wrong_peer', 'the MCP server could not be verified'));
        socket.destroy();
      }
    });
  }

  /** Node calls this after a request, and closes the socket if it returns false. */
  override keepSocketAlive(socket: Duplex): boolean {
    // The return value is documented, but not declared.
    const kept: unknown = super.keepSocketAlive(socket);
    return kept === true && socket instanceof TLSSocket && this.#isCurrent(this.#links.get(socket));
  }

  /** Closes all connections. Does not wait. */
  override destroy(): void {
    for (const stop of this.#stops) stop();
    super.destroy();
    for (const socket of this.#links.keys()) socket.destroy();
  }

  /** Throws what `verifyPeer` throws, wrong_peer, revoked_peer. */
  #admit(socket: TLSSocket): VerifiedSvid {
    const { identity, bundle, revocations, clock } = this.#trust;
    const now = clock.now();
    const peer = verifyPeer(socket, bundle.current(), now);
    ensure(peer.id === identity, 'wrong_peer', `the MCP server is ${peer.id}, not ${identity}`);
    ensureNotRevoked(revocations.current(), peer, now);
    return peer;
  }

  /** Closes the connection at the end of the server's certificate, or after the request that uses it then. */
  #endIdle(socket: TLSSocket, { notAfter }: VerifiedSvid): void {
    const closed = new AbortController();
    socket.once('close', () => closed.abort());
    const close = (): void => {
      if (Object.values(this.freeSockets).flat().includes(socket)) socket.destroy();
    };
    this.#trust.clock.sleepUntil(notAfter, closed.signal).then(close, () => {});
  }

  #isCurrent(link: Link | undefined): boolean {
    const { svid, bundle, clock } = this.#trust;
    if (link?.own !== svid.current() || link.bundle !== bundle.current()) return false;
    return link.peer.notAfter > clock.now();
  }

  /** Connections in use are closed after their request. */
  #retire(): void {
    for (const socket of Object.values(this.freeSockets).flat()) socket?.destroy();
  }

  #cutRevoked(): void {
    const { revocations, clock } = this.#trust;
    for (const [socket, { peer }] of [...this.#links]) {
      try {
        ensureNotRevoked(revocations.current(), peer, clock.now());
      } catch (error) {
        socket.destroy(refusalOf(error, 'wrong_peer', 'the MCP server could not be looked at'));
      }
    }
  }
}
