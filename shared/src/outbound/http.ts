/**
 * HTTP to platforms: metadata servers, key sets, token services. Every call is bounded in time and size, and follows no
 * redirect, which could send our credentials elsewhere. Addresses come from an operator or a table of ours, never from
 * a peer.
 */
import http from 'node:http';
import https from 'node:https';
import { asBuffer } from '../ground/bytes.ts';
import { IdentityError } from '../ground/errors.ts';
import { readAnswer } from '../ground/read-whole.ts';
import { plainNetwork } from '../text/network-sentence.ts';

export interface OutboundRequest {
  readonly url: string;
  readonly method?: 'GET' | 'POST' | 'PUT';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  /** Limits the whole call, including a slow body; 10 seconds by default. */
  readonly timeoutMs?: number;
  /** The largest body of the reply; 1 MiB by default. */
  readonly maxBytes?: number;
  /** PEM, instead of the system's roots. */
  readonly ca?: string | Uint8Array;
  readonly signal?: AbortSignal;
}

export interface OutboundReply {
  /** The status as received: a caller that needs 200 refuses the rest, also redirects. */
  readonly status: number;
  readonly contentType: string;
  readonly body: Uint8Array;
}

export interface Outbound {
  /** Throws platform_unavailable if no whole reply came in time. */
  request(request: OutboundRequest): Promise<OutboundReply>;
  /** Closes the connections; requests that are open fail. Does not wait. */
  close(): void;
}

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 1024 * 1024;
/** An idle connection is kept for the next question, no longer than servers commonly do. */
const IDLE_MS = 30_000;
const MAX_SOCKETS = 64;

/** Keeps connections; the caller closes it. */
export function openOutbound(): Outbound {
  const options = { keepAlive: true, timeout: IDLE_MS, maxSockets: MAX_SOCKETS };
  const agents = { 'http:': new http.Agent(options), 'https:': new https.Agent(options) };
  return {
    request: async (request) => {
      const url = parseUrl(request.url);
      const agent = agents[url.protocol];
      try {
        return await exchange(url, request, agent);
      } catch (error) {
        // The other side may close a kept connection just when it is used again.
        if (!(error instanceof StaleConnection)) throw error;
        return await exchange(url, request, undefined);
      }
    },
    close: () => {
      for (const agent of Object.values(agents)) agent.destroy();
    },
  };
}

type HttpUrl = URL & { readonly protocol: 'http:' | 'https:' };

function parseUrl(text: string): HttpUrl {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.username !== '')
    throw new TypeError(`not an address to call: ${text}`);
  return url as HttpUrl;
}

class StaleConnection extends Error {}

function exchange(
  url: HttpUrl,
  request: OutboundRequest,
  agent: http.Agent | undefined,
): Promise<OutboundReply> {
  const { method = 'GET', headers = {}, body, timeoutMs = TIMEOUT_MS, ca } = request;
  const limit = AbortSignal.timeout(timeoutMs);
  const signal = request.signal === undefined ? limit : AbortSignal.any([limit, request.signal]);
  const options = { method, headers, signal, agent, ...(ca === undefined ? {} : { ca: asText(ca) }) };
  const send = url.protocol === 'https:' ? https.request : http.request;
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      const timedOut = limit.aborted && !request.signal?.aborted;
      const why = timedOut ? `no whole answer in ${timeoutMs / 1000} s` : reasonOf(error);
      reject(
        new IdentityError('platform_unavailable', `${url.origin}${url.pathname}: ${why}`, { cause: error }),
      );
    };
    const call = send(url, options, (reply) => {
      readAnswer(reply, request.maxBytes ?? MAX_BYTES).then(
        (bytes) =>
          resolve({
            status: reply.statusCode ?? 0,
            contentType: reply.headers['content-type'] ?? '',
            body: bytes,
          }),
        fail,
      );
    });
    call.on('error', (error: NodeJS.ErrnoException) => {
      if (call.reusedSocket && error.code === 'ECONNRESET') reject(new StaleConnection());
      else fail(error);
    });
    call.end(body);
  });
}

const asText = (pem: string | Uint8Array): string =>
  typeof pem === 'string' ? pem : asBuffer(pem).toString();

/** An AggregateError, of a name with several addresses, has no message of its own. */
function reasonOf(error: Error): string {
  const all = error instanceof AggregateError ? error.errors : [error];
  return all.map((each) => plainNetwork(each instanceof Error ? each.message : String(each))).join('; ');
}
