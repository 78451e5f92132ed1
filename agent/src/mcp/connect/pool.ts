/**
 * The connections to one gateway. A call takes one that is idle; where there is none it waits for whichever comes
 * first, one that falls idle or a new one. They are not made all at once: a handshake costs both sides more than a
 * call.
 */

import { Agent, type RequestOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { McpServer } from '@chancery/shared/policy/resources.ts';
import { ensureNotRevoked, type RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { hostAndPort } from '@chancery/shared/text/address.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { verifyPeer } from '@chancery/shared/tls/peer.ts';
import { KEEPALIVE_MS, noticeLoss } from '../wire/tcp.ts';
import type { Claims } from './claims.ts';

export interface PoolOptions {
  readonly svid: Source<Svid>;
  readonly bundle: Source<Bundle>;
  readonly revocations: Source<RevocationSet>;
  readonly clock: Clock;
}

/** A request made while this runs gets a connection, unless the pool is retired or none could be made. */
export type Turn = (outcome: 'ready' | 'retired' | Error) => void;

/** A claim goes first, and has a connection beyond the most: all others may be held by the calls that it is for. */
export interface Wanted {
  readonly turn: Turn;
  readonly isClaim: boolean;
}

/** An idle connection is closed by us, long before the gateway would: it must not close under a request. */
const IDLE_MS = 60_000;
const MAX_IDLE = 32;
/** Streams and long calls hold theirs; so many at once are more than one user's clients have. */
const MAX_CONNECTIONS = 256;
/** One after the other where they are quick; one more so often where the way is long. Warm ones are given so long. */
const OPENING_MS = 100;
const MAX_OPENING = 16;
const MAX_WAITING = 4_096;
const HANDSHAKE_MS = 10_000;
/**
 * Of a connection that no request has used: half of what the gateway gives a client for its first request, after which
 * it answers 408. The next request would take that for its own answer.
 */
const UNUSED_MS = 15_000;

/**
 * Node's HTTP agent for one gateway. Its TLS connections have the certificate and bundle that were current when it
 * was made. `destroy` ends them; requests that wait for a connection get unavailable.
 */
export class DialAgent extends Agent {
  readonly #server: McpServer;
  readonly #own: Svid;
  readonly #tls: SecureContext;
  readonly #bundle: Bundle;
  readonly #options: PoolOptions;
  readonly #claims: Claims;
  readonly #retired = new WeakSet<Duplex>();
  /** Requests that wait for a connection: claims first, then the oldest. */
  readonly #waiting: Wanted[] = [];
  /** Connections that no request has used yet, and what ends them. */
  readonly #fresh = new Map<TLSSocket, NodeJS.Timeout>();
  #opening = 0;
  #growing: NodeJS.Timeout | undefined;
  /** Whether a connection came free since the last look, or none for one look: then those who wait need a new one. */
  #moves = false;
  #still = false;
  #live = 0;
  #over = false;

  constructor(server: McpServer, options: PoolOptions, claims: Claims) {
    // First in, first out: Node skips closed connections at the head of the idle ones only.
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
    // One for all its connections: keys and authorities are read once.
    this.#tls = createSecureContext(clientTls(this.#own, this.#bundle));
    this.#options = options;
    this.#claims = claims;
    this.on('free', () => {
      this.#moves = true;
      this.#still = false;
      this.#serve();
    });
  }

  /** Throws rate; unavailable once the pool is retired. */
  take(wanted: Wanted): void {
    ensure(!this.#over, 'unavailable', 'these connections to the gateway are given up');
    if (this.#waiting.length === 0 && this.#hasIdle()) {
      wanted.turn('ready');
      return;
    }
    if (this.#waiting.length >= MAX_WAITING && !wanted.isClaim)
      throw new IdentityError('rate', `${MAX_WAITING} requests wait for a connection to the gateway`);
    if (wanted.isClaim) this.#waiting.unshift(wanted);
    else this.#waiting.push(wanted);
    this.#grow();
  }

  /** It waits no longer. */
  leave(wanted: Wanted): void {
    const at = this.#waiting.indexOf(wanted);
    if (at !== -1) this.#waiting.splice(at, 1);
  }

  /** All its connections lead to one place as one identity, so they need no names to be told apart by. */
  override getName(): string {
    return this.#server.identity;
  }

  /** Node asks for a connection where none is idle: one that has been made and proven, or else it waits for one. */
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

  /** On which nothing has come: whoever sends an answer before a request is about to close. */
  #unused(): readonly TLSSocket[] {
    return [...this.#fresh.keys()].filter((socket) => !socket.destroyed && socket.readableLength === 0);
  }

  #forget(fresh: TLSSocket): void {
    clearTimeout(this.#fresh.get(fresh));
    this.#fresh.delete(fresh);
  }

  #serve(): void {
    while (this.#waiting.length > 0 && this.#hasIdle()) this.#waiting.shift()?.turn('ready');
    this.#grow();
  }

  #grow(): void {
    if (this.#over) return;
    const isClaim = this.#waiting[0]?.isClaim === true;
    if (this.#opening === 0 && (this.#live < MAX_IDLE || this.#still || isClaim)) this.#openOne();
    if (this.#opening >= this.#waiting.length || this.#growing !== undefined) return;
    this.#growing = setTimeout(() => {
      this.#growing = undefined;
      this.#still = !this.#moves;
      this.#moves = false;
      this.#openOne();
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
      // Those who waited for it have gone elsewhere.
      if (this.#over) socket.destroy();
      else
        this.#fresh.set(
          socket,
          setTimeout(() => socket.destroy(), UNUSED_MS),
        );
      this.#serve();
    });
  }

  /** What cannot change fails everybody; where calls are under way, one of their connections will come free. */
  #failed(error: Error): void {
    const all = this.#live === 0 || isRefusal(error);
    for (const { turn } of this.#waiting.splice(0, all ? this.#waiting.length : 1)) turn(error);
    this.#grow();
  }

  /** No request sees the socket before its peer is proven, and no TLS session outlives one. */
  #connect(done: (error: Error | undefined) => void): TLSSocket {
    const { host, port } = hostAndPort(this.#server.address);
    // The name to expect is a SPIFFE ID, which `#admit` compares; the address is only where it is.
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

  /** Node asks when a request is done, and closes where the answer is no. */
  override keepSocketAlive(socket: Duplex): boolean {
    // Its declaration knows no return value; its documentation does.
    const kept: unknown = super.keepSocketAlive(socket);
    return kept === true && !this.#retired.has(socket);
  }

  /** No new request on it: at the end of the gateway's certificate it is cut, but for a call that is claimed. */
  #retireSocket(socket: TLSSocket): void {
    this.#retired.add(socket);
    const idle = Object.values(this.freeSockets).flat();
    if (idle.some((each) => each === socket)) socket.destroy();
  }

  /** Closes idle connections now and the others when their request is done; whoever waits goes elsewhere. */
  retire(): void {
    this.#over = true;
    clearTimeout(this.#growing);
    // The agent closes a socket that comes free when it may keep none.
    this.maxFreeSockets = 0;
    for (const socket of [...Object.values(this.freeSockets).flat(), ...this.#fresh.keys()])
      socket?.destroy();
    for (const { turn } of this.#waiting.splice(0)) turn('retired');
  }

  override destroy(): void {
    super.destroy();
    this.#over = true;
    clearTimeout(this.#growing);
    for (const socket of this.#fresh.keys()) socket.destroy();
    const closed = new IdentityError('unavailable', 'connect is closing');
    for (const { turn } of this.#waiting.splice(0)) turn(closed);
  }
}
