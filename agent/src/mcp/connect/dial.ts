/**
 * Connections to one MCP server's gateway: mutual TLS with the current SVID, to the address and exactly the SPIFFE ID
 * that the registry names. After a change of our certificate, the bundle or the registry, new requests use new
 * connections; open requests end on the old ones and are claimed over the new ones. A revoked gateway is cut off at
 * once, with its open requests.
 */
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { saysRevoked } from '@chancery/shared/revocation/revocation.ts';
import { ensureNotRevoked } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Spans } from '../spans.ts';
import { onOutcome } from '../wire/answer/outcome.ts';
import { reasonOf } from '../wire/answer/reason.ts';
import { CLAIMS, MAX_CLAIM_BYTES, readClaimed, writeClaims } from '../wire/claims.ts';
import { readBody } from '../wire/http-body.ts';
import { type Answer, Claims, type Links } from './claims.ts';
import { type OwnRevocationOptions, ownRevocation } from './own-revocation.ts';
import type { OnConnection, Wanted } from './pool.ts';
import { Route } from './route.ts';

export interface DialOptions extends OwnRevocationOptions {
  /** The McpServer resource's name. */
  readonly server: string;
  readonly bundle: Source<Bundle>;
  readonly policy: Source<Policy>;
  readonly log: Log;
  /** By default nothing is traced. */
  readonly spans?: Spans | undefined;
}

export interface Posted {
  readonly method: 'POST' | 'GET' | 'DELETE';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | string | undefined;
  /** Instead of the endpoint of the server. */
  readonly path?: string;
  /** The only identity that may get it, even if the registry names another one by then. */
  readonly identity?: SpiffeId;
}

export interface Reached {
  /** The head of the answer. Called at most once. */
  onResponse(response: IncomingMessage): void;
  /** Called at most once, and last. */
  onError(error: IdentityError): void;
}

interface Sending {
  readonly posted: Posted;
  readonly reached: Reached;
  /** Ends the wait for a connection, or the request. */
  stop: () => void;
  /** The caller has given it up. */
  over: boolean;
  onUnsent: (error: unknown) => void;
}

/** Pauses after a connection could not be made. */
const RETRY_SECONDS = [0.1, 0.5, 2];

/**
 * Sends requests to one server of the registry. It connects at the first request. The caller closes it, which ends its
 * connections.
 */
export class Dialler {
  readonly #options: DialOptions;
  readonly #stops: readonly (() => void)[];
  readonly #closed = new AbortController();
  readonly #links: Links = new Map();
  readonly #claims: Claims;
  #route: Route | undefined;

  /** The McpServer resource's name. */
  readonly server: string;
  /** Undefined without telemetry. */
  readonly spans: Spans | undefined;

  constructor(options: DialOptions) {
    this.#options = options;
    this.server = options.server;
    this.spans = options.spans;
    const { svid, bundle, policy, revocations } = options;
    this.#claims = new Claims({
      links: this.#links,
      clock: options.clock,
      log: options.log,
      closed: this.#closed.signal,
      gateway: () => options.policy.current().servers.get(options.server)?.identity,
      svid,
      ask: (identity, secrets, signal) => this.#claim(identity, secrets, signal),
    });
    this.#stops = [
      svid.onChange(() => {
        this.#retire();
        this.#claims.claim(this.#links.keys());
      }),
      bundle.onChange(() => this.#retire()),
      revocations.onChange(() => this.#cutRevoked()),
      policy.onChange((next) => {
        if (!this.#route?.leadsTo(next.servers.get(options.server))) this.#retire();
      }),
    ];
  }

  /**
   * Sends one request. It is sent again only if no connection could be made for it: once a byte may have left, the
   * server may have acted, and a tool must not be called twice. The returned function gives it up.
   */
  send(posted: Posted, reached: Reached): () => void {
    const { clock } = this.#options;
    const sending: Sending = { posted, reached, stop: () => {}, over: false, onUnsent: () => {} };
    let failures = 0;
    sending.onUnsent = (error) => {
      const seconds = RETRY_SECONDS[failures];
      failures += 1;
      if (seconds === undefined || !mayPass(error)) return reached.onError(this.#unreachable(error));
      clock.sleepUntil(addSeconds(clock.now(), seconds), this.#closed.signal).then(
        () => this.#attempt(sending),
        () => reached.onError(this.#unreachable(error)),
      );
    };
    this.#attempt(sending);
    return () => {
      sending.over = true;
      sending.stop();
    };
  }

  /** A gateway cuts a revoked caller off without a word. If a revocation may be why a request failed, this says so. */
  async explain(error: unknown): Promise<unknown> {
    const revocation = await this.revocation();
    if (revocation === undefined) return error;
    const why = saysRevoked(revocation);
    // Why the connection was cut says nothing about the call.
    return isRefusal(error, 'mcp_outcome')
      ? new IdentityError('mcp_outcome', `${why}; ${SERVER_MAY_HAVE_ACTED}`, { cause: error })
      : new IdentityError('mcp_upstream', why, { cause: error });
  }

  /** The revocation of this identity, if there is one. */
  revocation(): Promise<string | undefined> {
    return ownRevocation(this.#options);
  }

  /** Rejects if the gateway cannot be reached or gives no valid answer, and when the signal aborts. */
  async #claim(identity: SpiffeId, secrets: readonly Uint8Array[], signal: AbortSignal): Promise<Answer> {
    const headers = { 'content-type': 'application/json' };
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const posted = { method: 'POST', headers, body: writeClaims(secrets), path: CLAIMS } as const;
      const giveUp = this.send({ ...posted, identity }, { onResponse: resolve, onError: reject });
      signal.addEventListener('abort', () => {
        giveUp();
        reject(new IdentityError('unavailable', 'the gateway did not answer a claim in time'));
      });
    });
    // The connection exists while it answers, and is not known before.
    const { socket } = response;
    const link = socket instanceof TLSSocket ? this.#links.get(socket) : undefined;
    const { gateways: [gateway] = [], own, retire } = link ?? {};
    const body = await readBody(response, MAX_CLAIM_BYTES);
    ensure(response.statusCode === 200, 'mcp_upstream', `claims gave HTTP ${response.statusCode}`);
    ensure(
      gateway !== undefined && own !== undefined && retire !== undefined,
      'mcp_upstream',
      'the connection of the claims has ended',
    );
    // Another request may use it by now.
    return { claimed: readClaimed(body), gateway, own, leave: retire };
  }

  /** Destroys the connections; waiting requests fail with unavailable. Does not wait. */
  close(): void {
    for (const stop of this.#stops) stop();
    this.#closed.abort();
    this.#route?.destroy();
  }

  #attempt(sending: Sending): void {
    if (sending.over) return;
    try {
      const route = this.#current();
      const { identity = route.identity, path } = sending.posted;
      ensure(identity === route.identity, 'wrong_peer', `the gateway is ${route.identity} now`);
      const onConnection: OnConnection = (outcome) => {
        // The next waiting request gets the connection.
        if (sending.over) return;
        if (outcome === 'ready') this.#write(route, sending);
        else if (outcome === 'retired') this.#attempt(sending);
        else sending.onUnsent(outcome);
      };
      const wanted: Wanted = { onConnection, isClaim: path === CLAIMS };
      sending.stop = () => route.leave(wanted);
      route.take(wanted);
    } catch (error) {
      sending.onUnsent(error);
    }
  }

  #write(route: Route, sending: Sending): void {
    const { posted, reached } = sending;
    const { body } = posted;
    const path = posted.path ?? route.path;
    const outgoing = route.request({ ...posted, path });
    sending.stop = () => outgoing.destroy();
    let connected = false;
    let isUnread = false;
    outgoing.once('socket', () => {
      connected = true;
    });
    onOutcome(outgoing, {
      onResponse: (response) => {
        isUnread = posted.path === undefined && route.isOlder(path, response);
        if (!isUnread) return reached.onResponse(response);
        response.on('error', () => {}).resume();
        this.#attempt(sending);
      },
      onError: (error) => {
        if (isUnread) return;
        if (connected) reached.onError(this.#broken(error));
        else sending.onUnsent(error);
      },
    });
    // Node sends a text body in one piece with the head; latin1 keeps every byte.
    if (body instanceof Uint8Array) outgoing.end(asBuffer(body).toString('latin1'), 'latin1');
    else outgoing.end(body);
  }

  /** The caller is this user, so the error names address, identity and reason. */
  #unreachable(error: unknown): IdentityError {
    const at = this.#route === undefined ? '' : ` at ${this.#route.address}`;
    return refusalOf(error, 'mcp_upstream', `the gateway${at}: ${reasonOf(error)}`);
  }

  #broken(error: unknown): IdentityError {
    const { message } = this.#unreachable(error);
    const says = `${message}; the request was sent, and ${SERVER_MAY_HAVE_ACTED}`;
    return new IdentityError('mcp_outcome', says, { cause: error });
  }

  #current(): Route {
    this.#route ??= new Route(this.#options, this.#claims);
    return this.#route;
  }

  #cutRevoked(): void {
    const { revocations, clock } = this.#options;
    for (const [socket, { gateways }] of [...this.#links]) {
      try {
        for (const gateway of gateways) ensureNotRevoked(revocations.current(), gateway, clock.now());
      } catch (error) {
        socket.destroy(refusalOf(error, 'wrong_peer', 'the gateway could not be looked at'));
      }
    }
  }

  #retire(): void {
    const route = this.#route;
    // Waiting requests ask for a new route before this call returns.
    this.#route = undefined;
    route?.retire();
  }
}

/** A model that reads this checks before it calls again. */
export const SERVER_MAY_HAVE_ACTED = 'the MCP server may have done what was asked';

/** The connection ended before the answer was complete. */
export const brokeOff = (): IdentityError =>
  new IdentityError(
    'mcp_outcome',
    `the connection to the gateway ended before the answer; ${SERVER_MAY_HAVE_ACTED}`,
  );

/**
 * True for failures that can pass: of the network, and before the first policy. A wrong identity at the address does
 * not pass.
 */
function mayPass(error: unknown): boolean {
  return !isRefusal(error) || error.code === 'unavailable';
}
