/**
 * `connect`: gives an MCP client on this machine one MCP server by name, over stdio, a unix socket or a local URL. It
 * speaks mutual TLS to the server's gateway with this workload's SVID, so the client needs no secret and does not
 * notice rotation.
 */

import type { Readable, Writable } from 'node:stream';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { saysRevoked } from '@chancery/shared/revocation/revocation.ts';
import { Dialler, type DialOptions } from './connect/dial.ts';
import { type LocalEndpoint, startListener } from './connect/listener.ts';
import { ownRevocation } from './connect/own-revocation.ts';
import { oneServer, type StdioOptions, startStdio } from './connect/stdio/stdio.ts';
import { Union } from './connect/union/union.ts';
import { MAX_REQUEST_BYTES } from './upstream/upstream.ts';

export interface ConnectOptions extends Omit<DialOptions, 'server'> {
  /** The McpServer resource's name. Undefined for all that the caller may reach, which is for stdio. */
  readonly server: string | undefined;
  /** Of all: shows `find_tools` and `call_tool` instead of more than 60 tools. */
  readonly findTools?: boolean | undefined;
  readonly local:
    | { readonly kind: 'stdio'; readonly input: Readable; readonly output: Writable }
    | LocalEndpoint;
  /** Only programs of this user may call: the user of this process. */
  readonly uid: number;
  readonly platform: NodeJS.Platform;
  /** The largest message of the client; 16 MiB by default. */
  readonly maxRequestBytes?: number | undefined;
}

export interface Connect {
  /** Set for a TCP listener. */
  readonly port: number | undefined;
  /**
   * Resolves when a stdio client has left; never for a listener, which serves until it is closed. Rejects with
   * revoked_peer if this identity is revoked by then.
   */
  readonly done: Promise<void>;
  /** Ends the listener and the connections to the gateway. Resolves when they have ended. */
  close(): Promise<void>;
}

/**
 * Resolves when clients can connect. It connects to the gateway at the first request. `done` rejects with revoked_peer
 * if a revocation ended a stdio client. Throws file, file_mode, unavailable. The caller closes it.
 */
export async function startConnect(options: ConnectOptions): Promise<Connect> {
  const { local, clock, uid, platform, log, maxRequestBytes = MAX_REQUEST_BYTES } = options;
  if (local.kind === 'stdio') {
    const { peer, close } = peerOf(options);
    const relay = startStdio({ ...local, peer, log, maxRequestBytes });
    const done = relay.done
      .then(() => ownRevocation(options))
      .then(ensureNone)
      .finally(close);
    return { port: undefined, done, close: () => relay.close().then(() => done) };
  }
  ensure(options.server !== undefined, 'config', 'a local address is of one server');
  const dialler = new Dialler({ ...options, server: options.server });
  const listener = await startListener({ local, dialler, uid, platform, clock, log, maxRequestBytes });
  const { promise: done, resolve } = Promise.withResolvers<void>();
  return {
    port: listener.port,
    done,
    async close() {
      dialler.close();
      await listener.close();
      resolve();
    },
  };
}

interface Peer {
  readonly peer: StdioOptions['peer'];
  close(): void;
}

function peerOf(options: ConnectOptions): Peer {
  const { server, clock, log, policy, findTools = false } = options;
  const dial = (to: string): Dialler => new Dialler({ ...options, server: to });
  if (server === undefined) {
    const peer: StdioOptions['peer'] = (client) => {
      const union = new Union({ policy, findTools, dial, clock, log, ...client });
      return { send: (message) => union.send(message), ready() {}, end: () => union.end() };
    };
    return { peer, close() {} };
  }
  const dialler = dial(server);
  return { peer: oneServer({ dialler, clock, log }), close: () => dialler.close() };
}

/** Throws revoked_peer. */
function ensureNone(revocation: string | undefined): void {
  if (revocation !== undefined) throw new IdentityError('revoked_peer', saysRevoked(revocation));
}
