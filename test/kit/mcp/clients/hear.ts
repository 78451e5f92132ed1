/** A stream on which a client hears what a server and the gateway tell it, until the test or one of them ends it. */
import { request } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { secretOf } from '@chancery/agent/mcp/wire/claims.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import type { RpcJson } from '../servers/server.ts';
import type { World } from '../world/world.ts';

export interface Heard {
  /** The messages that have come so far, in order. */
  messages(): readonly RpcJson[];
  /** Resolves when its head has come. */
  readonly opened: Promise<unknown>;
  /** That of its connection, by which it is claimed. Once `opened`. */
  secret(): Uint8Array;
  /** Resolves when it has ended. */
  readonly ended: Promise<unknown>;
  close(): void;
}

/** A GET of the legacy era, or with a body a POST. */
export function hear(
  world: World,
  svid: Svid,
  { body, headers = {} }: { readonly body?: string; readonly headers?: Readonly<Record<string, string>> },
): Heard {
  const tls = { ...clientTls(svid, world.td.bundle.current()), checkServerIdentity: () => undefined };
  const posted = body === undefined ? {} : { 'content-type': 'application/json' };
  const outgoing = request({
    ...{ ...tls, host: '127.0.0.1', port: world.gateway.port, path: '/mcp', agent: false },
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      accept: body === undefined ? 'text/event-stream' : 'application/json, text/event-stream',
      ...posted,
      ...headers,
    },
  });
  let text = '';
  const ended = new Promise((resolve) => outgoing.once('close', resolve));
  outgoing.on('error', () => {});
  const opened = new Promise((resolve) =>
    outgoing.once('response', (response) => {
      response.on('error', () => {});
      response.on('data', (chunk) => {
        text += chunk;
      });
      resolve(undefined);
    }),
  );
  outgoing.end(body);
  const messages = () =>
    [...text.matchAll(/^data: (\{.*\})$/gm)].map(([, json]): RpcJson => JSON.parse(json ?? ''));
  const secret = (): Uint8Array => secretOf(outgoing.socket as TLSSocket);
  return { messages, opened, ended, secret, close: () => outgoing.destroy() };
}
