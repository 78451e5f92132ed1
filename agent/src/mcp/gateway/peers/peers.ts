/**
 * The gateway's connections. Each peer is verified when it connects, and may send requests only while its certificate
 * is valid. Its connection is cut, with all its streams, when the certificate expires or is revoked, or when the bundle
 * or the policy no longer covers it.
 *
 * Only one thing outlives a certificate: an open call that its caller has claimed with the certificate that replaced it
 * (docs/mcp.md, "Calls that outlive a certificate"). From then on the new certificate holds the connection: all rules
 * above apply to it, and the connection takes no new request.
 */
import { timingSafeEqual } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { CertifiedPeer } from '@chancery/shared/door/connections.ts';
import { ensure, IdentityError, isRefusal, refusalOf } from '@chancery/shared/ground/errors.ts';
import { inWords } from '@chancery/shared/policy/decide.ts';
import { ensureNotRevoked } from '@chancery/shared/revocation/revocation-set.ts';
import { peerChain, verifyPeer } from '@chancery/shared/tls/peer.ts';
import { type VerifiedSvid, verifierOf } from '@chancery/shared/x509/verify/svid.ts';
import { digestOf, secretOf } from '../../wire/claims.ts';
import type { Claimant, Connection, PeersOptions } from './connection.ts';
import { EarlyClaims } from './early-claims.ts';
import type { Allows, ClaimTerms, OpenCall } from './open-call.ts';
import { addressOf } from './places.ts';

/** Admits connections, and ends those whose certificate is no longer good. One for each gateway. */
export class Peers {
  readonly #open = new Map<TLSSocket, Connection>();
  readonly #byDigest = new Map<string, Connection>();
  readonly #early = new EarlyClaims<Connection, Claimant>();
  readonly #options: PeersOptions;

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  /** Called after the handshake, before the first request. Closes the connection of a stranger. */
  admit(socket: TLSSocket): void {
    const { bundle, clock } = this.#options;
    let peer: VerifiedSvid | undefined;
    try {
      peer = verifyPeer(socket, bundle.current(), clock.now());
      const chain = peerChain(socket);
      const digest = digestOf(secretOf(socket));
      const calls = new Map<OpenCall, Date>();
      const held = { current: peer, chain, former: [], until: peer.notAfter };
      const connection: Connection = { peer, digest, calls, ...held };
      this.#ensureNotRevoked(connection);
      // Without a place the socket is destroyed already, or its peer has left.
      if (this.#options.connections.of(socket)?.certify(this.#certified(socket, peer)) !== true) return;
      this.#open.set(socket, connection);
      this.#byDigest.set(keyOf(digest), connection);
      const closed = new AbortController();
      socket.once('close', () => {
        closed.abort();
        this.#open.delete(socket);
        this.#byDigest.delete(keyOf(digest));
        this.#early.drop(connection);
      });
      this.#cutAtEnd(socket, connection, closed.signal).catch(() => {});
    } catch (error) {
      this.#refuse(socket, error, peer);
    }
  }

  /** The peer that sends this request. Throws no_peer, expired_peer, revoked_peer. */
  of(socket: TLSSocket): VerifiedSvid {
    const connection = this.#open.get(socket);
    ensure(connection !== undefined, 'no_peer', 'a request on a connection that was not admitted');
    const { peer, current } = connection;
    const expired = this.#options.clock.now() >= peer.notAfter;
    ensure(!expired, 'expired_peer', `the certificate of ${peer.id} has expired`);
    ensure(
      current === peer,
      'expired_peer',
      `${peer.id} has claimed the calls of this connection with a newer certificate`,
    );
    this.#ensureNotRevoked(connection);
    return peer;
  }

  /**
   * Counts a complete request as open; the returned function counts it as closed. Throws what `of` throws: while the
   * request arrived, its certificate may have ended, or a newer one may have claimed its connection.
   */
  begin(socket: TLSSocket, call: OpenCall): () => void {
    this.of(socket);
    const connection = this.#open.get(socket);
    const answered = this.#options.connections.of(socket)?.answer();
    connection?.calls.set(call, this.#options.clock.now());
    return () => {
      answered?.();
      connection?.calls.delete(call);
      // The claimed call is over.
      if (connection?.calls.size === 0 && connection.current !== connection.peer) socket.end();
    };
  }

  /** Throws no_peer, expired_peer, revoked_peer unless an open request may continue. */
  ensureStands(socket: TLSSocket): void {
    const connection = this.#open.get(socket);
    ensure(connection !== undefined, 'no_peer', 'the connection has ended');
    const { current, until } = connection;
    const expired = this.#options.clock.now() >= until;
    ensure(!expired, 'expired_peer', `the certificate of ${current.id} has expired`);
    this.#ensureNotRevoked(connection);
  }

  /**
   * Continues the open call with this secret under the certificate of `socket`, at most until that ends. Throws
   * mcp_call, revoked_peer, and what `terms.record` throws.
   */
  claim(socket: TLSSocket, secret: Uint8Array, terms: ClaimTerms): void {
    const claimant = this.#open.get(socket);
    ensure(claimant !== undefined, 'no_peer', 'a claim on a connection that was not admitted');
    const digest = digestOf(secret);
    const connection = this.#byDigest.get(keyOf(digest));
    const own =
      connection !== undefined &&
      timingSafeEqual(digest, connection.digest) &&
      connection.peer.id === claimant.peer.id;
    ensure(own && connection.calls.size > 0, 'mcp_call', 'no open call of this caller has such a secret');
    this.#pass(connection, { peer: claimant.peer, chain: claimant.chain }, terms);
  }

  /**
   * Decides on early claims again after the CA has sent successions, by the current policy. A claim waits until the old
   * certificate ends, even if the connection that brought it is gone.
   */
  claimAgain(termsNow: () => ClaimTerms): Promise<void> {
    const judgeOf = () => {
      const verify = verifierOf(this.#options.bundle.current(), this.#options.clock.now());
      const terms = termsNow();
      return (connection: Connection, claimant: Claimant): void => {
        try {
          if (connection.calls.size === 0) return;
          verify(claimant.chain);
          this.#pass(connection, claimant, terms);
        } catch (error) {
          if (!isRefusal(error)) throw error;
        }
      };
    };
    return this.#early.judge((connection, { peer }) => this.#isLinked(peer, connection), judgeOf);
  }

  #isLinked(next: VerifiedSvid, { current }: Connection): boolean {
    return next.serial === current.serial || this.#options.successions.follows(next.serial, current.serial);
  }

  /** Throws what `claim` throws. */
  #pass(connection: Connection, claimant: Claimant, { allows, record }: ClaimTerms): void {
    const { clock } = this.#options;
    const [{ peer: next }, { current }] = [claimant, connection];
    const linked = this.#isLinked(next, connection);
    if (linked) this.#early.drop(connection);
    else this.#early.keep(connection, claimant);
    ensure(
      linked,
      'mcp_call',
      `the CA has not said that certificate ${next.serial} replaced ${current.serial}`,
    );
    ensure(clock.now() < connection.until, 'expired_peer', `the certificate of ${next.id} has expired`);
    this.#ensureNotRevoked({ current: next, former: [] });
    this.#ensureNotRevoked(connection);
    this.#ensureAllowed({ ...connection, current: next }, allows);
    const until = new Date(Math.min(next.notAfter.getTime(), this.#longest(connection)));
    if (until <= connection.until) return;
    for (const call of connection.calls.keys()) record(next, call);
    connection.former.push(current);
    connection.current = next;
    connection.chain = claimant.chain;
    connection.until = until;
    for (const call of connection.calls.keys()) {
      call.holder = next;
      call.onClaimed?.();
    }
  }

  /** The peer of a socket, for records of events that are not requests. */
  whoIs(socket: Duplex): VerifiedSvid | { readonly address: string } {
    const peer = socket instanceof TLSSocket ? this.#open.get(socket)?.peer : undefined;
    return peer ?? { address: addressOf(socket) };
  }

  /** Cuts revoked peers, after a revocation. */
  cutRevoked(): void {
    this.#lookAgain((connection) => this.#ensureNotRevoked(connection));
  }

  /** Cuts peers that may no longer reach the server, and open calls whose tool is now denied, after a new policy. */
  judgeAgain(allows: Allows): void {
    this.#lookAgain((connection) => this.#ensureAllowed(connection, allows));
  }

  /** Cuts all connections: the gateway stops. */
  cutAll(): void {
    for (const socket of this.#open.keys()) this.#cut(socket, 'the gateway stopped');
  }

  /** Cuts peers whose authority was removed, after a new bundle. */
  verifyAgain(): void {
    const verify = verifierOf(this.#options.bundle.current(), this.#options.clock.now());
    this.#lookAgain(({ chain }) => verify(chain));
  }

  /** Shares are counted by SPIFFE ID: a workload can have several certificates. */
  #certified(socket: TLSSocket, peer: VerifiedSvid): CertifiedPeer {
    const onLost = (refusal: IdentityError): void => this.#refuse(socket, refusal, peer);
    return { serial: peer.serial, holder: peer.id, onLost };
  }

  #lookAgain(look: (connection: Connection) => void): void {
    for (const [socket, connection] of [...this.#open]) {
      if (socket.destroyed) continue;
      try {
        look(connection);
      } catch (error) {
        this.#refuse(socket, error, connection.peer);
      }
    }
  }

  /** A claim moves the end, so this looks again. */
  async #cutAtEnd(socket: TLSSocket, connection: Connection, closed: AbortSignal): Promise<void> {
    const { clock, maxCallSeconds } = this.#options;
    while (clock.now() < connection.until) await clock.sleepUntil(connection.until, closed);
    const { current, until, calls } = connection;
    const [first] = calls.keys();
    const says = `an open call ends after ${maxCallSeconds(first?.server)} s`;
    if (until < current.notAfter) this.#refuse(socket, new IdentityError('mcp_call', says), current);
    else this.#cut(socket, `the certificate of ${current.id} has expired`);
  }

  /** Milliseconds of the clock at which the first of the open calls has lasted as long as one may. */
  #longest({ calls }: Connection): number {
    const { maxCallSeconds } = this.#options;
    return Math.min(
      ...[...calls].map(([{ server }, begun]) => begun.getTime() + maxCallSeconds(server) * 1000),
    );
  }

  #ensureAllowed({ current, calls }: Connection, allows: Allows): void {
    const { id } = current;
    ensure(allows(current, undefined), 'mcp_call', `no rule lets ${id} reach this server any more`);
    for (const call of calls.keys()) {
      const to = call.what === undefined ? 'reach this server' : inWords(call.what);
      ensure(allows(current, call), 'mcp_call', `no rule lets ${id} ${to} any more`);
    }
  }

  #ensureNotRevoked({ current, former }: Pick<Connection, 'current' | 'former'>): void {
    const { revocations, clock } = this.#options;
    for (const each of [current, ...former]) ensureNotRevoked(revocations.current(), each, clock.now());
  }

  #refuse(socket: TLSSocket, error: unknown, peer: VerifiedSvid | undefined): void {
    const refusal = refusalOf(error, 'no_peer', 'the peer could not be verified');
    this.#options.onRefused(refusal, peer, addressOf(socket));
    this.#cut(socket, refusal.message);
  }

  #cut(socket: TLSSocket, why: string): void {
    for (const call of this.#open.get(socket)?.calls.keys() ?? []) call.cut = why;
    socket.destroy();
  }
}

const keyOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
