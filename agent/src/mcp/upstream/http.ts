/** An MCP server that speaks Streamable HTTP, at a URL or on a unix socket. Redirects are not followed. */
import http, { type ClientRequest, type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Log } from '@chancery/shared/log.ts';
import {
  errorResponse,
  type Message,
  type Response,
  readMessage,
  writeMessage,
} from '@chancery/shared/mcp/message.ts';
import { SseReader } from '@chancery/shared/mcp/sse.ts';
import { header, isEventStream, isJson, readBody } from '../wire/http-body.ts';
import {
  type Back,
  badAnswer,
  MAX_ANSWER_BYTES,
  type Outbound,
  type Upstream,
  type UpstreamTarget,
} from './upstream.ts';

/** The server's memory is its own business; this bounds ours. */
const MAX_SESSIONS = 5_000;
/** Of a connection; sooner where the server says that it will close it sooner (Keep-Alive), so not under a request. */
const IDLE_MS = 60_000;
const LINGER_MS = 1_000;
const ACCEPT = 'application/json, text/event-stream';
/**
 * Would make a client begin an OAuth flow or follow us elsewhere; the server's trust in us is not the
 * client's matter.
 */
const NOT_FOR_CLIENTS = new Set([401, 403, 407]);

type HttpTarget = Exclude<UpstreamTarget, { kind: 'command' }>;

export function httpUpstream(target: HttpTarget, log: Log): Upstream {
  const { request, agent } = dialler(target);
  const ask = (method: string, outbound: Outbound, body: string | undefined, back: Back): void => {
    const outgoing = request(method, [
      ...headersOf(outbound, body),
      ...Object.entries(outbound.headers).flat(),
    ]);
    outgoing.on('response', (response) => receive(response, outbound, back));
    outgoing.on('error', (error) => back.fail(badAnswer(error)));
    back.onClose(() => (back.answered ? linger(outgoing) : outgoing.destroy()));
    outgoing.end(body);
  };
  const quietly = (method: string, session: string, body?: string): void => {
    const outgoing = request(method, headersOf({ session }, body));
    outgoing.on('response', (response) => response.resume());
    outgoing.on('error', (error) => log.warn({ err: error }, `the MCP server did not take a ${method}`));
    outgoing.end(body);
  };
  return {
    maxSessions: MAX_SESSIONS,
    send: (outbound, back) => ask('POST', outbound, bodyOf(outbound), back),
    listen: (outbound, back) => ask('GET', outbound, undefined, back),
    end: (outbound, back) => ask('DELETE', outbound, undefined, back),
    refuse(session, answer) {
      if (session !== undefined) quietly('POST', session, writeMessage(answer));
    },
    forget: (session) => quietly('DELETE', session),
    async close() {
      agent.destroy();
    },
  };
}

/** Lets a request whose answer has been passed on end by itself, which keeps its connection. */
function linger(outgoing: ClientRequest): void {
  if (outgoing.closed) return;
  const timer = setTimeout(() => outgoing.destroy(), LINGER_MS);
  outgoing.once('close', () => clearTimeout(timer));
}

function bodyOf({ message }: Outbound): string | undefined {
  return message === undefined ? undefined : writeMessage(message);
}

function dialler(target: HttpTarget) {
  const tls = target.kind === 'url' && target.url.protocol === 'https:';
  const kept = { keepAlive: true, timeout: IDLE_MS };
  const agent = tls ? new https.Agent(kept) : new http.Agent(kept);
  const where =
    target.kind === 'unix'
      ? { socketPath: target.path, path: target.endpoint }
      : { host: target.url.hostname, port: target.url.port, path: target.url.pathname + target.url.search };
  const host = target.kind === 'unix' ? 'localhost' : target.url.host;
  const { request } = tls ? https : http;
  return {
    agent,
    /** A list of headers is written as it is; an object would be copied and checked name by name. */
    request: (method: string, headers: readonly string[]): ClientRequest =>
      request({ ...where, method, headers: ['host', host, ...headers], agent }),
  };
}

function headersOf(
  { session }: { readonly session: string | undefined },
  body: string | undefined,
): string[] {
  const headers = ['accept', ACCEPT];
  if (session !== undefined) headers.push('mcp-session-id', session);
  if (body !== undefined)
    headers.push('content-type', 'application/json', 'content-length', String(Buffer.byteLength(body)));
  return headers;
}

function receive(response: IncomingMessage, { message: asked }: Outbound, back: Back): void {
  const status = response.statusCode ?? 502;
  const fail = (error: unknown): void => {
    response.destroy();
    back.fail(badAnswer(error));
  };
  response.on('error', fail);
  try {
    const type = header(response, 'content-type');
    const begins = asked?.kind === 'request' && asked.method === 'initialize' && status === 200;
    const session = header(response, 'mcp-session-id');
    if (begins && session !== undefined) back.session(session);
    if (status === 200 && isEventStream(type)) stream(response, back, fail);
    else whole(response, status, back).catch(fail);
  } catch (error) {
    fail(error);
  }
}

async function whole(response: IncomingMessage, status: number, back: Back): Promise<void> {
  const bytes = await readBody(response, MAX_ANSWER_BYTES);
  const readable = bytes.length > 0 && isJson(header(response, 'content-type'));
  if (status >= 300 && (status < 400 || NOT_FOR_CLIENTS.has(status))) back.answer(502, failure(status));
  else if (readable) back.answer(status, readMessage(bytes, MAX_ANSWER_BYTES));
  else back.answer(status, status >= 400 ? failure(status) : undefined);
}

function failure(status: number): Response {
  return errorResponse(undefined, { code: -31502, message: `the MCP server answered HTTP ${status}` });
}

function stream(response: IncomingMessage, back: Back, fail: (error: unknown) => void): void {
  back.open();
  let flowing = true;
  const reader = new SseReader(
    {
      onEvent({ id, event, retry, data }) {
        const spoken = data !== undefined && data.length > 0 && (event === undefined || event === 'message');
        const message: Message | undefined = spoken ? readMessage(data, MAX_ANSWER_BYTES) : undefined;
        flowing = back.event({ id, retry }, message);
      },
      onComment: () => back.keepAlive(),
    },
    MAX_ANSWER_BYTES,
  );
  response.on('data', (chunk: Buffer) => {
    try {
      reader.push(chunk);
    } catch (error) {
      fail(error);
    }
    if (flowing) return;
    // A slow client slows its server down instead of filling our memory.
    response.pause();
    back.onDrain(() => response.resume());
  });
  response.on('end', () => back.end());
  response.on('close', () => {
    if (!response.complete) back.end();
  });
}
