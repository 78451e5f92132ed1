/**
 * Connections to one MCP server's gateway: mutual TLS with today's SVID, the registry's address, and exactly the SPIFFE
 * ID that the registry names. What changes (our certificate, the bundle, the registry) makes new connections; requests
 * that are under way end on the old ones, and are claimed over the new. A gateway that is revoked is cut off at once,
 * whatever is under way.
 */
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import { asBuffer, hex } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { describeRevocation, saysRevoked } from '@chancery/shared/revocation/revocation.ts';
import { ensureNotRevoked, type RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { onOutcome } from '../wire/answer/outcome.ts';
import { reasonOf } from '../wire/answer/reason.ts';
import { CLAIMS, MAX_CLAIM_BYTES, readClaimed, writeClaims } from '../wire/claims.ts';
import { readBody } from '../wire/http-body.ts';
import { type Answer, Claims, type Links } from './claims.ts';
import type { Turn, Wanted } from './pool.ts';
import { Route } from './route.ts';

export interface DialOptions {
  /** The McpServer resource's name. */
  readonly server: string;
  readonly svid: Source<Svid>;
  readonly bundle: Source<Bundle>;
  readonly policy: Source<Policy>;
  readonly revocations: Source<RevocationSet>;
  readonly clock: Clock;
  readonly log: Log;
  /** What the agent knows of a revocation of this identity beyond the set that it passed on. */
  readonly revocation?: () => Promise<string | undefined>;
}

export interface Posted {
  readonly method: 'POST' | 'GET' | 'DELETE';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | string | undefined;
  /** Instead of the MCP endpoint. */
  readonly path?: string;
  /** Goes to a gateway of this identity or to none, whatever the registry says by then. */
  readonly identity?: SpiffeId;
}

export interface Reached {
  onResponse(response: IncomingMessage): void;
  /** Nothing more comes. */
  onError(error: IdentityError): void;
}

interface Sending {
  readonly posted: Posted;
  readonly reached: Reached;
  /** Ends what is under way for it: the wait for a connection, or the request. */
  stop: () => void;
  /** Given up. */
  over: boolean;
  onUnsent: (error: unknown) => void;
}

/** After a connection failed while it was being made. */
const RETRY_SECONDS = [0.1, 0.5, 2];
const PATH = '/mcp';

/**
 * Sends requests to one server of the registry; connects when there is one. The caller closes it, which ends its
 * connections.
 */
export class Dialler {
  readonly #options: DialOptions;
  readonly #stops: readonly (() => void)[];
  readonly #closed = new AbortController();
  readonly #links: Links = new Map();
  readonly #claims: Claims;
  #route: Route | undefined;

  constructor(options: DialOptions) {
    this.#options = options;
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
   * Sends one request. It is sent again only if no connection could be made for it: once one byte of it may have left,
   * the server may have acted on it, and a tool must not be called twice. Returns the way to give it up.
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

  /** A gateway that cuts a revoked caller off says nothing: where that may be why a request failed, this does. */
  async explain(error: unknown): Promise<unknown> {
    const revocation = await this.revocation();
    return revocation === undefined
      ? error
      : new IdentityError('mcp_upstream', saysRevoked(revocation), { cause: error });
  }

  /** What revoked this identity, where something did. */
  async revocation(): Promise<string | undefined> {
    const { svid, revocations, clock, revocation } = this.#options;
    try {
      const { id, chain } = svid.current();
      const serial = hex(parseCertificate(chain[0] ?? new Uint8Array()).serial);
      const found = revocations.current().revoked({ id, serial }, clock.now());
      return found === undefined ? await revocation?.() : describeRevocation(found);
    } catch {
      // Neither has anything to say before the first snapshot, or while the agent is away.
      return undefined;
    }
  }

  /** Rejects where the gateway cannot be reached or does not answer as one, and at the signal. */
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
    // The connection is there while it answers, and was not handed over before.
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
    // A call may have taken it by now.
    return { claimed: readClaimed(body), gateway, own, leave: retire };
  }

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
      const turn: Turn = (outcome) => {
        // Its turn goes to the next one.
        if (sending.over) return;
        if (outcome === 'ready') this.#write(route, sending);
        else if (outcome === 'retired') this.#attempt(sending);
        else sending.onUnsent(outcome);
      };
      const wanted: Wanted = { turn, isClaim: path === CLAIMS };
      sending.stop = () => route.leave(wanted);
      route.take(wanted);
    } catch (error) {
      sending.onUnsent(error);
    }
  }

  #write(route: Route, sending: Sending): void {
    const { posted, reached } = sending;
    const { body } = posted;
    const outgoing = route.request({ path: PATH, ...posted });
    sending.stop = () => outgoing.destroy();
    let connected = false;
    outgoing.once('socket', () => {
      connected = true;
    });
    onOutcome(outgoing, {
      onResponse: (response) => reached.onResponse(response),
      onError: (error) => (connected ? reached.onError(this.#broken(error)) : sending.onUnsent(error)),
    });
    // As text a body goes out in one piece with its head; latin1 is bytes, one for one.
    if (body instanceof Uint8Array) outgoing.end(asBuffer(body).toString('latin1'), 'latin1');
    else outgoing.end(body);
  }

  /** The caller is this user: it is told where, who and why. */
  #unreachable(error: unknown): IdentityError {
    const at = this.#route === undefined ? '' : ` at ${this.#route.address}`;
    return refusalOf(error, 'mcp_upstream', `the gateway${at}: ${reasonOf(error)}`);
  }

  #broken(error: unknown): IdentityError {
    const { message } = this.#unreachable(error);
    const says = `${message}; the request was sent, and ${SERVER_MAY_HAVE_ACTED}`;
    return new IdentityError('mcp_upstream', says, { cause: error });
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
    // Requests that wait for it ask for a route anew before it has returned.
    this.#route = undefined;
    route?.retire();
  }
}

/** A model that is told so does not call again without looking. */
export const SERVER_MAY_HAVE_ACTED = 'the MCP server may have done what was asked';

/** While an answer came, or before it. */
export const brokeOff = (): IdentityError =>
  new IdentityError(
    'mcp_upstream',
    `the connection to the gateway ended before the answer; ${SERVER_MAY_HAVE_ACTED}`,
  );

/** The network's failures pass, and so does the time before the first policy; a stranger at the address stays one. */
function mayPass(error: unknown): boolean {
  return !isRefusal(error) || error.code === 'unavailable';
}
