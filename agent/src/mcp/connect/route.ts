/** The connections that are made with one certificate to one address, where one identity answers. */
import type { ClientRequest, IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { BY_NAME, ENDPOINT, endpointOf } from '../wire/endpoint.ts';
import type { Claims } from './claims.ts';
import { DialAgent, type PoolOptions, type Wanted } from './pool.ts';

export interface RouteOptions extends PoolOptions {
  /** The McpServer resource's name. */
  readonly server: string;
  readonly policy: Source<Policy>;
}

export interface RouteRequest {
  readonly method: 'POST' | 'GET' | 'DELETE';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | string | undefined;
}

/**
 * One gateway, with the certificate, bundle and registry entry that were current when it was made. The caller replaces
 * it after a change, and destroys it. The constructor throws server_unknown.
 */
export class Route {
  readonly #server: McpServer;
  #path: string;
  readonly #agent: DialAgent;

  constructor(options: RouteOptions, claims: Claims) {
    const server = options.policy.current().servers.get(options.server);
    ensure(server !== undefined, 'server_unknown', `no server is registered as ${options.server}`);
    this.#server = server;
    this.#path = endpointOf(server.name);
    this.#agent = new DialAgent(server, options, claims);
  }

  /** `host:port` of the gateway. */
  get address() {
    return this.#server.address;
  }

  /** The SPIFFE ID that the gateway must have. */
  get identity() {
    return this.#server.identity;
  }

  /** Of the server at its gateway. */
  get path(): string {
    return this.#path;
  }

  /**
   * Whether this answer under `path` is of an older gateway, which has one server and no path by its name: it has read
   * nothing of the request but its head. Later requests take the other path.
   */
  isOlder(path: string, { statusCode, headers }: IncomingMessage): boolean {
    if (statusCode !== 404 || headers[BY_NAME] !== undefined || path === ENDPOINT) return false;
    this.#path = ENDPOINT;
    return true;
  }

  /** Calls `wanted.onConnection` once a connection is ready, at once if one is idle. Throws rate, unavailable. */
  take(wanted: Wanted): void {
    this.#agent.take(wanted);
  }

  /** Removes a request that no longer waits. */
  leave(wanted: Wanted): void {
    this.#agent.leave(wanted);
  }

  /** Whether `server` has the same address and SPIFFE ID. */
  leadsTo(server: McpServer | undefined): boolean {
    return server?.address === this.#server.address && server.identity === this.#server.identity;
  }

  /** Makes the HTTP request. Call it inside `Wanted.onConnection`, so that it gets the connection. */
  request({ method, headers, body, path }: RouteRequest): ClientRequest {
    // Node writes a list as it is. It would check and copy an object name by name; these headers were checked when they
    // came.
    const list = ['host', this.#server.address, ...Object.entries(headers).flat()];
    if (body !== undefined) list.push('content-length', String(Buffer.byteLength(body)));
    return request({ method, path, agent: this.#agent, headers: list });
  }

  /** Makes no new connection; open requests finish on theirs. */
  retire(): void {
    this.#agent.retire();
  }

  /** Closes all connections. Does not wait. */
  destroy(): void {
    this.#agent.destroy();
  }
}
