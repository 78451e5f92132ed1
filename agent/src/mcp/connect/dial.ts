/**
 * Connections to one MCP server's gateway: mutual TLS with today's SVID, the registry's address, and exactly the SPIFFE
 * ID that the registry names. What changes (our certificate, the bundle, the registry) makes new connections; requests
 * that are under way end on the old ones. A gateway that is revoked is cut off at once, whatever is under way.
 */

import type { ClientRequest, IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { connect, type SecureContextOptions, type TLSSocket } from 'node:tls';
import { asBuffer } from '@chancery/shared/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/clock.ts';
import { ensure, type IdentityError, isRefusal, refusalOf } from '@chancery/shared/errors.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { McpServer } from '@chancery/shared/policy/resources.ts';
import { ensureNotRevoked, type RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Source } from '@chancery/shared/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { ensurePeerIs, verifyPeer } from '@chancery/shared/tls/peer.ts';
import type { Svid } from '@chancery/shared/tls/source.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/svid.ts';
import { at, cutAt } from '../wire/cut.ts';

export interface DialOptions {
  /** The McpServer resource's name. */
  readonly server: string;
  readonly svid: Source<Svid>;
  readonly bundle: Source<Bundle>;
  readonly policy: Source<Policy>;
  readonly revocations: Source<RevocationSet>;
  readonly clock: Clock;
}

export interface Posted {
  readonly method: 'POST' | 'GET' | 'DELETE';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | string | undefined;
}

export interface Reached {
  onResponse(response: IncomingMessage): void;
  /** Nothing more comes. */
  onError(error: IdentityError): void;
}

/** After a connection failed, and only while it was being made. */
const RETRY_SECONDS = [0.1, 0.5, 2];
const PATH = '/mcp';
/** An idle connection is closed by us, long before the gateway would: it must not close under a request. */
const IDLE_MS = 60_000;
/** A gateway has renewed at six tenths of its certificate's life. */
const RENEWED = 0.8;

export class Dialler {
  readonly #options: DialOptions;
  readonly #stops: readonly (() => void)[];
  readonly #closed = new AbortController();
  readonly #open: Gateways = new Map();
  #route: Route | undefined;

  constructor(options: DialOptions) {
    this.#options = options;
    const { svid, bundle, policy, revocations } = options;
    const renew = () => this.#retire();
    this.#stops = [
      svid.onChange(renew),
      bundle.onChange(renew),
      revocations.onChange(() => this.#cutRevoked()),
      policy.onChange((next) => {
        if (!this.#route?.leadsTo(next.servers.get(options.server))) this.#retire();
      }),
    ];
  }

  /**
   * Sends one request. It is sent again only if no connection could be made for it: once one byte of it may have left,
   * the server may have acted on it, and a tool must not be called twice. Returns the way to give it up.
   */
  send(posted: Posted, reached: Reached): () => void {
    let current: ClientRequest | undefined;
    let over = false;
    const attempt = (failures: number): void => {
      if (over) return;
      current = this.#attempt(posted, reached, (error) => {
        const seconds = RETRY_SECONDS[failures];
        if (seconds === undefined || !mayPass(error)) return reached.onError(unreachable(error));
        const { clock } = this.#options;
        clock.sleepUntil(addSeconds(clock.now(), seconds), this.#closed.signal).then(
          () => attempt(failures + 1),
          () => reached.onError(unreachable(error)),
        );
      });
    };
    attempt(0);
    return () => {
      over = true;
      current?.destroy();
    };
  }

  close(): void {
    for (const stop of this.#stops) stop();
    this.#closed.abort();
    this.#route?.destroy();
  }

  #attempt({ method, headers, body }: Posted, reached: Reached, onUnsent: (error: unknown) => void) {
    let outgoing: ClientRequest;
    try {
      outgoing = this.#current().request(method, headers, body);
    } catch (error) {
      onUnsent(error);
      return undefined;
    }
    let connected = false;
    outgoing.once('socket', () => {
      connected = true;
    });
    outgoing.once('response', (response) => reached.onResponse(response));
    outgoing.once('error', (error) => (connected ? reached.onError(unreachable(error)) : onUnsent(error)));
    // As text a body goes out in one piece with its head; latin1 is bytes, one for one.
    if (body instanceof Uint8Array) outgoing.end(asBuffer(body).toString('latin1'), 'latin1');
    else outgoing.end(body);
    return outgoing;
  }

  #current(): Route {
    this.#route ??= new Route(this.#options, this.#open);
    return this.#route;
  }

  #cutRevoked(): void {
    const { revocations, clock } = this.#options;
    for (const [socket, gateway] of [...this.#open]) {
      try {
        ensureNotRevoked(revocations.current(), gateway, clock.now());
      } catch (error) {
        socket.destroy(refusalOf(error, 'wrong_peer', 'the gateway could not be looked at'));
      }
    }
  }

  #retire(): void {
    this.#route?.retire();
    this.#route = undefined;
  }
}

/** Those at the other end of open connections, of whatever route. */
type Gateways = Map<TLSSocket, VerifiedSvid>;

/** One address with one identity on either side. */
class Route {
  readonly #server: McpServer;
  readonly #agent: DialAgent;
  readonly #where: { readonly host: string; readonly port: string };

  constructor(options: DialOptions, open: Gateways) {
    const server = options.policy.current().servers.get(options.server);
    ensure(server !== undefined, 'server_unknown', `no server is registered as ${options.server}`);
    this.#server = server;
    this.#agent = new DialAgent(server.identity, options, open);
    const colon = server.address.lastIndexOf(':');
    this.#where = {
      host: server.address.slice(0, colon).replace(/^\[|\]$/g, ''),
      port: server.address.slice(colon + 1),
    };
  }

  leadsTo(server: McpServer | undefined): boolean {
    return server?.address === this.#server.address && server.identity === this.#server.identity;
  }

  request(method: string, headers: Readonly<Record<string, string>>, body: Uint8Array | string | undefined) {
    // A list is written as it is; an object is checked and copied name by name, as these were when they came.
    const list = ['host', this.#server.address, ...Object.entries(headers).flat()];
    if (body !== undefined) list.push('content-length', String(Buffer.byteLength(body)));
    return httpsRequest({ ...this.#where, method, path: PATH, agent: this.#agent, headers: list });
  }

  /** Closes idle connections now and the others when their request is done. */
  retire(): void {
    this.#agent.retire();
  }

  destroy(): void {
    this.#agent.destroy();
  }
}

class DialAgent extends Agent {
  readonly #expected: SpiffeId;
  readonly #tls: SecureContextOptions;
  readonly #bundle: Bundle;
  readonly #options: DialOptions;
  readonly #open: Gateways;
  readonly #retired = new WeakSet<Duplex>();

  constructor(expected: SpiffeId, options: DialOptions, open: Gateways) {
    super({ keepAlive: true, maxCachedSessions: 0, timeout: IDLE_MS });
    this.#expected = expected;
    this.#bundle = options.bundle.current();
    this.#tls = clientTls(options.svid.current(), this.#bundle);
    this.#options = options;
    this.#open = open;
  }

  /** All its connections lead to one place as one identity, so they need no names to be told apart by. */
  override getName(): string {
    return this.#expected;
  }

  /** No request sees the socket before its peer is proven, and no TLS session outlives one. */
  override createConnection(
    { host, port }: RequestOptions,
    callback?: (error: Error | null, socket: Duplex) => void,
  ): undefined {
    // The name to expect is a SPIFFE ID, which `ensurePeerIs` compares; the address is only where it is.
    const checkServerIdentity = () => undefined;
    const socket = connect({ ...this.#tls, host: host ?? '', port: Number(port), checkServerIdentity });
    socket.setNoDelay(true);
    const failed = (error: Error) => callback?.(error, socket);
    socket.once('error', failed);
    socket.once('secureConnect', () => {
      socket.off('error', failed);
      try {
        this.#admit(socket);
        callback?.(null, socket);
      } catch (error) {
        socket.destroy();
        failed(refusalOf(error, 'wrong_peer', 'the gateway could not be verified'));
      }
    });
    return undefined;
  }

  /** Throws what `verifyPeer` throws, wrong_peer, revoked_peer. */
  #admit(socket: TLSSocket): void {
    const { clock, revocations } = this.#options;
    const now = clock.now();
    const peer = verifyPeer(socket, this.#bundle, now);
    ensurePeerIs(peer, this.#expected);
    ensureNotRevoked(revocations.current(), peer, now);
    cutAt(socket, peer.notAfter, clock);
    at(retirementOf(peer, now), socket, clock, () => this.#retireSocket(socket));
    this.#open.set(socket, peer);
    socket.once('close', () => this.#open.delete(socket));
  }

  /** Node asks when a request is done, and closes where the answer is no. */
  override keepSocketAlive(socket: Duplex): boolean {
    // Its declaration knows no return value; its documentation does.
    const kept: unknown = super.keepSocketAlive(socket);
    return kept === true && !this.#retired.has(socket);
  }

  /** No new request on it: at the end of the gateway's certificate it is cut, whatever is under way. */
  #retireSocket(socket: TLSSocket): void {
    this.#retired.add(socket);
    const idle = Object.values(this.freeSockets).flat();
    if (idle.some((each) => each === socket)) socket.destroy();
  }

  retire(): void {
    // The agent closes a socket that comes free when it may keep none.
    this.maxFreeSockets = 0;
    for (const sockets of Object.values(this.freeSockets))
      for (const socket of sockets ?? []) socket.destroy();
  }
}

/**
 * When requests should find another connection: once the gateway has another certificate. Where it should have had one
 * already, its CA may be away: half of what is left, to look again.
 */
function retirementOf({ certificate, notAfter }: VerifiedSvid, now: Date): Date {
  const [begin, end] = [certificate.notBefore.getTime(), notAfter.getTime()];
  const halfway = now.getTime() + (end - now.getTime()) / 2;
  return new Date(Math.max(begin + (end - begin) * RENEWED, halfway));
}

/** The network's failures pass, and so does the time before the first policy; a stranger at the address stays one. */
function mayPass(error: unknown): boolean {
  return !isRefusal(error) || error.code === 'unavailable';
}

function unreachable(error: unknown): IdentityError {
  const why = error instanceof Error ? error.message : String(error);
  return refusalOf(error, 'mcp_upstream', `the gateway: ${why}`);
}
