/**
 * The transport of the official client's requests. The client's own transport follows redirects and sends the body
 * again, which for a TokenReview is a workload's token. It has no bound on time and size, and makes a connection for
 * each request. This one follows no redirects, bounds time and size, and keeps connections.
 */

import { setImmediate } from 'node:timers/promises';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { readAnswer } from '@chancery/shared/ground/read-whole.ts';
import type { HttpLibrary, KubeConfig, RequestContext, ResponseContext } from '@kubernetes/client-node';

/** The client's module. It takes 85 MB, so it is loaded by import() when it is needed. */
export type Client = typeof import('@kubernetes/client-node');

type Dispatcher = NonNullable<ReturnType<RequestContext['getDispatcher']>>;

/** Keeps connections from one request to the next while the credentials, which are part of them, are the same. */
export class Connections {
  #kept: { readonly credentials: KubeConfig; readonly dispatcher: Dispatcher } | undefined;

  /**
   * `fresh` is the dispatcher that the client made for this request. It has no connection yet, so it needs no closing.
   */
  take(credentials: KubeConfig, fresh: Dispatcher): Dispatcher {
    if (this.#kept?.credentials === credentials) return this.#kept.dispatcher;
    this.drop(this.#kept?.dispatcher);
    this.#kept = { credentials, dispatcher: fresh };
    return fresh;
  }

  /** Closes the dispatcher once its open requests have ended. The next request gets a new one. */
  drop(dispatcher: Dispatcher | undefined): void {
    if (dispatcher === undefined || this.#kept?.dispatcher !== dispatcher) return;
    this.#kept = undefined;
    dispatcher.close().catch(() => {});
  }
}

export interface Travel {
  readonly connections: Connections;
  /** The request already has their token or certificate. */
  readonly credentials: KubeConfig;
  /** Ends the whole request, a slow body included. */
  readonly signal: AbortSignal;
  readonly maxBytes: number;
}

/** The transport for one call of the official client, with the limits of `travel`. */
export const boundedLibrary = (client: Client, travel: Travel): HttpLibrary =>
  client.wrapHttpLibrary({ send: (request) => send(client, request, travel) });

async function send(client: Client, request: RequestContext, travel: Travel): Promise<ResponseContext> {
  const { connections, credentials } = travel;
  // Made for this request from the kubeconfig: our certificate and the cluster's CA.
  const fresh = request.getDispatcher();
  ensure(fresh !== undefined, 'config', 'the kubeconfig names no certificate-authority for its cluster');
  const kept = connections.take(credentials, fresh);
  try {
    return await exchange(client, request, { ...travel, dispatcher: kept });
  } catch (error) {
    connections.drop(kept);
    // The server may close a kept connection just when it is used again. Asking twice changes nothing.
    if (kept === fresh || !isClosed(error)) throw error;
    return await exchange(client, request, { ...travel, dispatcher: connections.take(credentials, fresh) });
  }
}

async function exchange(
  client: Client,
  request: RequestContext,
  { dispatcher, signal, maxBytes }: Travel & { readonly dispatcher: Dispatcher },
): Promise<ResponseContext> {
  const { origin, pathname, search } = new URL(request.getUrl());
  const [method, headers, body] = [request.getHttpMethod(), request.getHeaders(), request.getBody()];
  const sent = typeof body === 'string' ? body : null;
  const path = `${pathname}${search}`;
  const reply = await dispatcher.request({ origin, path, method, headers, body: sent, signal });
  const bytes = await readAnswer(reply.body, maxBytes);
  // The connection is free one turn of the event loop after the end of the body. An earlier request gets another one.
  await setImmediate();
  const type = String(reply.headers['content-type'] ?? '');
  const whole = new client.SelfDecodingBody(Promise.resolve(bytes));
  return new client.ResponseContext(reply.statusCode, { 'content-type': type }, whole);
}

const CLOSED = ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'];

const isClosed = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && CLOSED.includes(String(error.code));
