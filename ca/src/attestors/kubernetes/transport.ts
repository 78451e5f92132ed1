/**
 * How requests of the official client travel. Its own way follows redirects and takes the body along, which for a
 * TokenReview is a workload's token; and it reads as much, for as long, as the server sends. This way does neither: one
 * connection a request, no redirects, a bound on time and size.
 */
import { ensure } from '@chancery/shared/errors.ts';
import type { HttpLibrary, RequestContext, ResponseContext } from '@kubernetes/client-node';

/** The client's module; 85 MB, so it comes by import() where it is needed. */
export type Client = typeof import('@kubernetes/client-node');

export interface TransportLimits {
  /** Ends the whole request, a slow body included. */
  readonly signal: AbortSignal;
  readonly maxBytes: number;
}

export const boundedLibrary = (client: Client, limits: () => TransportLimits): HttpLibrary =>
  client.wrapHttpLibrary({ send: (request) => send(client, request, limits()) });

async function send(
  client: Client,
  request: RequestContext,
  limits: TransportLimits,
): Promise<ResponseContext> {
  const { signal, maxBytes } = limits;
  // Made for this request from the kubeconfig: our certificate and the cluster's CA.
  const dispatcher = request.getDispatcher();
  ensure(dispatcher !== undefined, 'config', 'the kubeconfig names no certificate-authority for its cluster');
  try {
    const { origin, pathname, search } = new URL(request.getUrl());
    const [method, headers, body] = [request.getHttpMethod(), request.getHeaders(), request.getBody()];
    const sent = typeof body === 'string' ? body : null;
    const path = `${pathname}${search}`;
    const reply = await dispatcher.request({ origin, path, method, headers, body: sent, signal });
    const bytes = readAll(reply.body, maxBytes);
    const type = String(reply.headers['content-type'] ?? '');
    const whole = new client.SelfDecodingBody(Promise.resolve(await bytes));
    return new client.ResponseContext(reply.statusCode, { 'content-type': type }, whole);
  } finally {
    await dispatcher.destroy();
  }
}

async function readAll(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > maxBytes) throw new Error(`the answer is longer than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
