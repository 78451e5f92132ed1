/**
 * `connect`: gives an MCP client on this machine one MCP server by name, over stdio, a unix socket or a local URL. It
 * speaks mutual TLS to the server's gateway with this workload's SVID, so the client needs no secret and does not
 * notice rotation.
 */

import type { Readable, Writable } from 'node:stream';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { saysRevoked } from '@chancery/shared/revocation/revocation.ts';
import { Dialler, type DialOptions } from './connect/dial.ts';
import { type LocalEndpoint, startListener } from './connect/listener.ts';
import { startStdio } from './connect/stdio/stdio.ts';
import { MAX_REQUEST_BYTES } from './upstream/upstream.ts';

export interface ConnectOptions extends DialOptions {
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
  const dialler = new Dialler(options);
  if (local.kind === 'stdio') {
    const relay = startStdio({ ...local, dialler, clock, log, maxRequestBytes });
    const done = relay.done
      .then(() => dialler.revocation())
      .then(ensureNone)
      .finally(() => dialler.close());
    return { port: undefined, done, close: () => relay.close().then(() => done) };
  }
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

/** Throws revoked_peer. */
function ensureNone(revocation: string | undefined): void {
  if (revocation !== undefined) throw new IdentityError('revoked_peer', saysRevoked(revocation));
}
