/** The connections to an MCP server over HTTP: kept while the server announces it, and verified as the config says. */
import http from 'node:http';
import https, { type RequestOptions } from 'node:https';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { refusalOf } from '@chancery/shared/ground/errors.ts';
import { KEEPALIVE_MS } from '../../wire/tcp.ts';
import type { UpstreamTarget, UpstreamTrust } from '../upstream.ts';
import { SpiffeAgent } from './spiffe-agent.ts';

export type HttpTarget = Exclude<UpstreamTarget, { kind: 'command' }>;

/**
 * How long an idle connection is kept if the server does not say (Keep-Alive). Shorter than servers keep theirs
 * (gunicorn 2 s, nginx often 3 s, uvicorn 5 s), so that the server does not close it under a request.
 */
const IDLE_MS = 1_500;
const LONGEST_IDLE_MS = 60_000;
/** Longer than any server announces: Node uses the lesser of the two. */
const UNSAID_MS = 86_400_000;

const KEPT = { keepAlive: true, keepAliveMsecs: KEEPALIVE_MS, timeout: UNSAID_MS };

export interface Connections {
  /** Keeps idle connections as long as the server announces, at most 60 s. The caller destroys it. */
  readonly agent: http.Agent;
  /** An agent for one request on a connection of its own. */
  forOne(): http.Agent;
}

/** Connects when it is used. */
export function connectionsTo(target: HttpTarget): Connections {
  if (target.kind === 'unix' || target.url.protocol === 'http:')
    return { agent: keeping(new http.Agent(KEPT)), forOne: () => new http.Agent() };
  const { trust } = target;
  if (trust?.kind === 'spiffe') {
    const agent = keeping(new SpiffeAgent(trust, KEPT));
    return { agent, forOne: () => agent.forOne() };
  }
  const agent = (kept: https.AgentOptions): https.Agent =>
    trust === undefined ? new https.Agent(kept) : new RootsAgent(trust, kept);
  return { agent: keeping(agent(KEPT)), forOne: () => agent({}) };
}

/** A URL has an IPv6 address in brackets; a socket takes it without. */
export const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[|\]$/g, '');

function keeping<A extends http.Agent>(agent: A): A {
  const keep = agent.keepSocketAlive.bind(agent);
  agent.keepSocketAlive = (socket) => {
    // The return value is documented, but not declared.
    const isKept: unknown = keep(socket);
    if (socket instanceof Socket) {
      const said = socket.timeout === undefined || socket.timeout >= UNSAID_MS ? IDLE_MS : socket.timeout;
      socket.setTimeout(Math.min(said, LONGEST_IDLE_MS));
    }
    return isKept;
  };
  return agent;
}

/** Verifies the server's name by the roots of a file instead of the system's. */
class RootsAgent extends https.Agent {
  readonly #trust: Extract<UpstreamTrust, { kind: 'roots' }>;

  constructor(trust: Extract<UpstreamTrust, { kind: 'roots' }>, kept: https.AgentOptions) {
    // A resumed session would not be verified by roots that were replaced.
    super({ ...kept, maxCachedSessions: 0 });
    this.#trust = trust;
  }

  override createConnection(
    options: RequestOptions,
    callback?: (error: Error | null, socket: Duplex) => void,
  ): Duplex | null | undefined {
    try {
      return super.createConnection({ ...options, ca: this.#trust.read() }, callback);
    } catch (error) {
      callback?.(refusalOf(error, 'internal', 'the roots could not be read'), new Socket());
      return undefined;
    }
  }
}
