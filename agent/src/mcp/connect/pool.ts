/**
 * The connections to one gateway. A call uses an idle one. If there is none, it waits for the first that becomes idle
 * or is made. New ones are not made all at once: a handshake costs both sides more than a call.
 */

import { Agent, type RequestOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { ensureNotRevoked, type RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { hostAndPort } from '@chancery/shared/text/address.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { verifyPeer } from '@chancery/shared/tls/peer.ts';
import { KEEPALIVE_MS, noticeLoss } from '../wire/tcp.ts';
import type { Claims } from './claims.ts';
import { QueueWatch } from './queue.ts';

export interface PoolOptions {
  readonly svid: Source<Svid>;
  readonly bundle: Source<Bundle>;
  readonly revocations: Source<RevocationSet>;
  readonly clock: Clock;
}

/** A request made inside this callback gets the connection, if the outcome is "ready". */
export type OnConnection = (outcome: 'ready' | 'retired' | Error) => void;

/** A claim goes first, and may exceed the bound on connections: the calls that it claims may hold all of them. */
export interface Wanted {
  readonly onConnection: OnConnection;
  readonly isClaim: boolean;
}

/** We close an idle connection long before the gateway would, so that the gateway never closes it under a request. */
const IDLE_MS = 60_000;
const MAX_IDLE = 32;
/** Streams and long calls each hold a connection. One user's clients have fewer at once. */
const MAX_CONNECTIONS = 256;
/** How long connections get to become free before another is made, and how long new ones wait for each other. */
const OPENING_MS = 100;
const MAX_OPENING = 16;
const MAX_WAITING = 4_096;
const HANDSHAKE_MS = 10_000;
/**
 * How long a connection without a request is kept: half of what the gateway allows until the first request. After that
 * the gateway answers 408, which the next request would take for its own answer.
 */
const UNUSED_MS = 15_000;

/**
 * Node's HTTP agent for one gateway. Its TLS connections use the certificate and bundle that were current when it was
 * made. `destroy` ends them; waiting requests get unavailable.
 */
export class DialAgent extends Agent {
  readonly #server: McpServer;
  readonly #own: Svid;
  readonly #tls: SecureContext;
  readonly #bundle: Bundle;
  readonly #options: PoolOptions;
  readonly #claims: Claims;
  readonly #retired = new WeakSet<Duplex>();
  /** Requests that wait for a connection: claims first, then by age. */
  readonly #waiting: Wanted[] = [];
  /** Connections that no request has used yet, with the timer that ends each. */
  readonly #fresh = new Map<TLSSocket, NodeJS.Timeout>();
  #opening = 0;
  #growing: NodeJS.Timeout | undefined;
  readonly #queue = new QueueWatch();
  #still = false;
  #live = 0;
  #over = false;

  constructor(server: McpServer, options: PoolOptions, claims: Claims) {
    // First in, first out: Node skips closed connections only at the head of its idle list.
    const scheduling = 'fifo';
    super({
      keepAlive: true,
      keepAliveMsecs: KEEPALIVE_MS,
      maxCachedSessions: 0,
      timeout: IDLE_MS,
      maxFreeSockets: MAX_IDLE,
      scheduling,
    });
    this.#server = server;
    this.#bundle = options.bundle.current();
    this.#own = options.svid.current();
    // One TLS context for all connections, so that keys and authorities are read once.
    this.#tls = createSecureContext(clientTls(this.#own, this.#bundle));
    this.#options = options;
    this.#claims = claims;
    this.on('free', () => {
      this.#queue.free();
      this.#still = false;
      this.#serve();
    });
  }

  /** Throws rate; unavailable once the pool is retired. */
  take(wanted: Wanted): void {
    ensure(!this.#over, 'unavailable', 'these connections to the gateway are given up');
    if (this.#waiting.length === 0 && this.#hasIdle()) {
      wanted.onConnection('ready');
      return;
    }
    if (this.#waiting.length >= MAX_WAITING && !wanted.isClaim)
      throw new IdentityError('rate', `${MAX_WAITING} requests wait for a connection to the gateway`);
    if (wanted.isClaim) this.#waiting.unshift(wanted);
    else this.#waiting.push(wanted);
    this.#queue.waits(this.#waiting.length);
    this.#grow();
  }

  /** Removes a request that no longer waits. */
  leave(wanted: Wanted): void {
    const at = this.#waiting.indexOf(wanted);
    if (at !== -1) this.#waiting.splice(at, 1);
  }

  /** All connections lead to one address and one identity, so they share one name. */
  override getName(): string {
    return this.#server.identity;
  }

  /**
   * Node calls this if no connection is idle. Gives it a verified connection that no request has used, or one later.
   */
  override createConnection(
    _options: RequestOptions,
    callback?: (error: Error | null, socket: Duplex) => void,
  ): Duplex | undefined {
    const fresh = this.#unused().at(-1);
    if (fresh !== undefined) {
      this.#forget(fresh);
      return fresh;
    }
    const socket = this.#connect((error) => callback?.(error ?? null, socket));
    return undefined;
  }

  #hasIdle(): boolean {
    const idle = this.freeSockets[this.getName()];
    return idle?.some((socket) => !socket.destroyed) === true || this.#unused().length > 0;
  }

  /** Connections on which nothing was received: a peer that answers before a request is about to close. */
  #unused(): readonly TLSSocket[] {
    return [...this.#fresh.keys()].filter((socket) => !socket.destroyed && socket.readableLength === 0);
  }

  #forget(fresh: TLSSocket): void {
    clearTimeout(this.#fresh.get(fresh));
    this.#fresh.delete(fresh);
  }

  #serve(): void {
    while (this.#waiting.length > 0 && this.#hasIdle()) this.#waiting.shift()?.onConnection('ready');
    this.#grow();
  }

  #grow(): void {
    if (this.#over) return;
    const isClaim = this.#waiting[0]?.isClaim === true;
    if (this.#opening === 0 && (this.#live < MAX_IDLE || this.#still || isClaim)) this.#openOne();
    if (this.#waiting.length === 0) {
      clearTimeout(this.#growing);
      this.#growing = undefined;
    }
    if (this.#opening >= this.#waiting.length || this.#growing !== undefined) return;
    this.#queue.begin(this.#waiting.length);
    this.#growing = setTimeout(() => {
      this.#growing = undefined;
      this.#still = this.#queue.isStill;
      // Another handshake only delays a burst that drains.
      if (!this.#queue.drains(this.#waiting.length) || this.#live < MAX_IDLE) this.#openOne();
      this.#grow();
    }, OPENING_MS);
  }

  #openOne(): void {
    const wanted = Math.min(this.#waiting.length, MAX_OPENING);
    const most = MAX_CONNECTIONS + (this.#waiting[0]?.isClaim === true ? 1 : 0);
    if (this.#opening >= wanted || this.#live >= most) return;
    this.#opening += 1;
    const socket = this.#connect((error) => {
      this.#opening -= 1;
      if (error !== undefined) {
        this.#failed(error);
        return;
      }
      // The requests that waited for it have gone elsewhere.
      if (this.#over) socket.destroy();
      else
        this.#fresh.set(
          socket,
          setTimeout(() => socket.destroy(), UNUSED_MS),
        );
      this.#serve();
    });
  }

  /**
   * Fails all waiting requests if the gateway is refused or no connection is left, else only the first: an open
   * connection will become free for the others.
   */
  #failed(error: Error): void {
    const all = this.#live === 0 || isRefusal(error);
    for (const { onConnection } of this.#waiting.splice(0, all ? this.#waiting.length : 1))
      onConnection(error);
    this.#grow();
  }

  /** No request gets the socket before its peer is verified. No TLS session is resumed. */
  #connect(done: (error: Error | undefined) => void): TLSSocket {
    const { host, port } = hostAndPort(this.#server.address);
    // `#admit` compares the SPIFFE ID; the name in the address is not verified.
    const checkServerIdentity = () => undefined;
    const socket = connect({ secureContext: this.#tls, host, port, checkServerIdentity });
    socket.setNoDelay(true);
    noticeLoss(socket);
    this.#live += 1;
    const late = new IdentityError('unavailable', `no TLS handshake within ${HANDSHAKE_MS / 1000} s`);
    const deadline = setTimeout(() => socket.destroy(late), HANDSHAKE_MS);
    let pending = true;
    const settle = (error: Error | undefined): void => {
      if (!pending) return;
      pending = false;
      clearTimeout(deadline);
      done(error);
    };
    socket.on('error', settle);
    socket.once('close', () => {
      this.#live -= 1;
      this.#forget(socket);
      settle(new IdentityError('unavailable', 'the connection closed during the handshake'));
      this.#grow();
    });
    socket.once('secureConnect', () => {
      try {
        this.#admit(socket);
        settle(undefined);
      } catch (error) {
        settle(refusalOf(error, 'wrong_peer', 'the gateway could not be verified'));
        socket.destroy();
      }
    });
    return socket;
  }

  /** Throws what `verifyPeer` throws, wrong_peer, revoked_peer. */
  #admit(socket: TLSSocket): void {
    const { clock, revocations } = this.#options;
    const now = clock.now();
    const peer = verifyPeer(socket, this.#bundle, now);
    const { identity, address } = this.#server;
    ensure(peer.id === identity, 'wrong_peer', `the gateway at ${address} is ${peer.id}, not ${identity}`);
    ensureNotRevoked(revocations.current(), peer, now);
    this.#claims.admit(socket, { gateway: peer, own: this.#own }, () => this.#retireSocket(socket));
  }

  /** Node calls this after a request, and closes the socket if it returns false. */
  override keepSocketAlive(socket: Duplex): boolean {
    // The return value is documented, but not declared.
    const kept: unknown = super.keepSocketAlive(socket);
    return kept === true && !this.#retired.has(socket);
  }

  /** It takes no new request. At the end of the gateway's certificate it is cut, unless its call is claimed. */
  #retireSocket(socket: TLSSocket): void {
    this.#retired.add(socket);
    const idle = Object.values(this.freeSockets).flat();
    if (idle.some((each) => each === socket)) socket.destroy();
  }

  /** Closes idle connections now, and the others after their request. Waiting requests go elsewhere. */
  retire(): void {
    this.#over = true;
    clearTimeout(this.#growing);
    // An agent that may keep no idle socket closes each one that becomes free.
    this.maxFreeSockets = 0;
    for (const socket of [...Object.values(this.freeSockets).flat(), ...this.#fresh.keys()])
      socket?.destroy();
    for (const { onConnection } of this.#waiting.splice(0)) onConnection('retired');
  }

  /** Closes all connections; waiting requests fail with unavailable. Does not wait. */
  override destroy(): void {
    super.destroy();
    this.#over = true;
    clearTimeout(this.#growing);
    for (const socket of this.#fresh.keys()) socket.destroy();
    const closed = new IdentityError('unavailable', 'connect is closing');
    for (const { onConnection } of this.#waiting.splice(0)) onConnection(closed);
  }
}
