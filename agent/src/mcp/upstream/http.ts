/** An MCP server that speaks Streamable HTTP, at a URL or on a unix socket. Redirects are not followed. */
import http, { type ClientRequest, type IncomingMessage } from 'node:http';
import https from 'node:https';
import { IdentityError } from '@chancery/shared/errors.ts';
import type { Log } from '@chancery/shared/log.ts';
import {
  errorResponse,
  type Message,
  type Response,
  readMessage,
  writeMessage,
} from '@chancery/shared/mcp/message.ts';
import { answeredIn, type Outline, outlinesOf } from '@chancery/shared/mcp/outline.ts';
import { carriesMessage, type SseEvent, SseReader } from '@chancery/shared/mcp/sse.ts';
import { header, isEventStream, isJson, readBody } from '../wire/http-body.ts';
import { isSessionLost, sessionLost } from '../wire/session-lost.ts';
import { skippedLog } from '../wire/skipped.ts';
import { CANCELLED } from './numbering.ts';
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
/**
 * Of a connection; shorter than the commonest servers keep theirs (Node and uvicorn: 5 s), and shorter still where the
 * server says so (Keep-Alive), so that it does not close under a request.
 */
const IDLE_MS = 4_000;
/** Small enough that the kernel takes all of it or nothing. */
const ONE_PIECE = 16 * 1024;
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
  const skip = skippedLog(log, 'the MCP server');
  const ask = (method: string, outbound: Outbound, text: string | undefined, back: Back): void => {
    const headers = [...headersOf(outbound, text), ...Object.entries(outbound.headers).flat()];
    const asking = { ...askingOf(outbound), method, back, skip };
    const again = Buffer.byteLength(text ?? '') < ONE_PIECE;
    // Not kept once it is sent: the server may take hours to answer.
    let body = text;
    let outgoing: ClientRequest | undefined;
    let left = false;
    const send = (fresh: boolean): void => {
      if (left) {
        back.sent();
        return;
      }
      const sent = request(method, headers, fresh);
      outgoing = sent;
      sent.on('response', (response) => receive(response, asking));
      sent.on('error', (error) => {
        if (!fresh && again && wasNotSent(sent, error)) send(true);
        else back.fail(badAnswer(error));
      });
      const over = (): void => {
        if (outgoing === sent) back.sent();
      };
      sent.once('finish', over).once('close', over);
      sent.end(body);
      if (!again) body = undefined;
    };
    back.onClose(() => {
      left = true;
      if (outgoing !== undefined) back.answered ? linger(outgoing) : outgoing.destroy();
    });
    afterPoll(agent, () => send(false));
  };
  const quietly = (method: string, session: string, body?: string): void => {
    const outgoing = request(method, headersOf({ session }, body), false);
    outgoing.on('response', (response) => response.resume());
    outgoing.on('error', (error) => log.warn({ err: error }, `the MCP server did not take a ${method}`));
    outgoing.end(body);
  };
  return {
    maxSessions: MAX_SESSIONS,
    send(outbound, back) {
      const { message, era } = outbound;
      // Its id is the client's own, and other clients use the same: it would cancel theirs (2026-07-28: over HTTP a
      // client cancels by closing its request, which `back.onClose` passes on).
      const cancels = era === 'modern' && message?.kind === 'notification' && message.method === CANCELLED;
      if (cancels) {
        back.sent();
        back.answer(202, undefined);
      } else ask('POST', outbound, bodyOf(outbound), back);
    },
    listen: (outbound, back) => ask('GET', outbound, undefined, back),
    end: (outbound, back) => ask('DELETE', outbound, undefined, back),
    refuse(session, answer) {
      if (session !== undefined) quietly('POST', session, writeMessage(answer));
    },
    forget: (session) => quietly('DELETE', session),
    // Over HTTP a server says so in its next answer.
    onSessionEnd: () => {},
    async close() {
      agent.destroy();
    },
  };
}

/**
 * The server may have closed an idle connection a moment ago. Whoever has not yet looked at the network does so before
 * it chooses a connection: once every event that is there by now has been dealt with.
 */
function afterPoll(agent: http.Agent, go: () => void): void {
  const idle = Object.values(agent.freeSockets).some((sockets) => (sockets?.length ?? 0) > 0);
  // The first may run in the same turn of the event loop, after its look at the network.
  if (idle) setImmediate(() => setImmediate(go));
  else go();
}

/** True only where the kernel took no byte of it: a server that has read some may have acted on it. */
function wasNotSent(sent: ClientRequest, error: Error): boolean {
  const closed = 'code' in error && error.code === 'EPIPE' && 'syscall' in error && error.syscall === 'write';
  return sent.reusedSocket && closed;
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
      : { host: hostOf(target.url), port: target.url.port, path: target.url.pathname + target.url.search };
  const host = target.kind === 'unix' ? 'localhost' : target.url.host;
  const { request } = tls ? https : http;
  return {
    agent,
    /** A list of headers is written as it is; an object would be copied and checked name by name. */
    request: (method: string, headers: readonly string[], fresh: boolean): ClientRequest =>
      request({ ...where, method, headers: ['host', host, ...headers], agent: fresh ? false : agent }),
  };
}

/** A URL writes an IPv6 address in brackets, a socket does not. */
const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[|\]$/g, '');

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

/** What an answer is read by. */
interface Asking {
  readonly method: string;
  readonly era: Outbound['era'];
  readonly session: string | undefined;
  /** The method of the request; undefined where none is made. */
  readonly asks: string | undefined;
  /** A stream that broke off is asked for again. */
  readonly resumes: boolean;
  readonly back: Back;
  readonly skip: (what: string) => void;
}

function askingOf({ era, session, message, headers }: Outbound): Omit<Asking, 'method' | 'back' | 'skip'> {
  const asks = message?.kind === 'request' ? message.method : undefined;
  return { era, session, asks, resumes: headers['last-event-id'] !== undefined };
}

function receive(response: IncomingMessage, asking: Asking): void {
  const { method, back, asks } = asking;
  const status = response.statusCode ?? 502;
  let failed = false;
  const fail = (error: unknown): void => {
    response.destroy();
    if (!failed) back.fail(badAnswer(error));
    failed = true;
  };
  response.on('error', fail);
  try {
    const type = header(response, 'content-type');
    const begins = asks === 'initialize' && status === 200;
    const session = header(response, 'mcp-session-id');
    if (begins && session !== undefined) back.session(session);
    // Nothing is expected in it (2025-11-25, transports: 202 without a body), so nothing in it matters.
    if (method === 'POST' && asks === undefined && status >= 200 && status < 300) {
      response.resume();
      back.answer(202, undefined);
    } else if (status === 200 && isEventStream(type)) stream(response, asking, fail);
    else whole(response, status, asking).catch(fail);
  } catch (error) {
    fail(error);
  }
}

async function whole(response: IncomingMessage, status: number, asking: Asking): Promise<void> {
  const { back, session } = asking;
  const bytes = await readBody(response, MAX_ANSWER_BYTES);
  const readable = bytes.length > 0 && isJson(header(response, 'content-type'));
  if (status >= 300 && (status < 400 || NOT_FOR_CLIENTS.has(status))) {
    back.answer(502, failure(status));
    return;
  }
  const message = readable ? readMessage(bytes, MAX_ANSWER_BYTES, 'server') : undefined;
  if (session !== undefined && isSessionLost(status, message)) back.answer(404, sessionLost());
  else if (listensInVain(status, asking)) back.open();
  else back.answer(status, message ?? (status >= 400 ? failure(status) : undefined));
}

/**
 * The server has no stream on which it speaks unasked (2025-11-25, "Listening for Messages from the Server"). The
 * client keeps one with the gateway, which has something to tell when rules change. A client that resumes waits for
 * an answer.
 */
function listensInVain(status: number, { method, resumes }: Asking): boolean {
  return method === 'GET' && status === 405 && !resumes;
}

function failure(status: number): Response {
  return errorResponse(undefined, { code: -31502, message: `the MCP server answered HTTP ${status}` });
}

function stream(response: IncomingMessage, asking: Asking, fail: (error: unknown) => void): void {
  const { back, era, asks, skip } = asking;
  back.open();
  let flowing = true;
  // A client resumes a stream after an event with an id (2025-11-25, "Resumability"); otherwise its end is the end.
  let resumable = false;
  const unreadable = (outlines: readonly Outline[], error: unknown): void => {
    const ids = answeredIn(outlines);
    const { message } = badAnswer(error);
    if (ids.length === 0) skip(message);
    for (const id of ids) flowing = back.event(NOWHERE, errorResponse(id, { code: -31502, message }));
  };
  const onEvent = (event: SseEvent): void => {
    const { id, retry, data } = event;
    resumable ||= era === 'legacy' && id !== undefined && id !== '';
    let message: Message | undefined;
    try {
      if (carriesMessage(event) && data !== undefined)
        message = readMessage(data, MAX_ANSWER_BYTES, 'server');
    } catch (error) {
      unreadable(outlinesOf(data ?? new Uint8Array()), error);
    }
    flowing = back.event({ id, retry }, message);
  };
  const onTooLarge = (outlines: readonly Outline[]): void =>
    unreadable(outlines, new IdentityError('mcp_size', `an event of more than ${MAX_ANSWER_BYTES} bytes`));
  const reader = new SseReader({ onEvent, onTooLarge, onComment: () => back.keepAlive() }, MAX_ANSWER_BYTES);
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
  const over = (how: string): void => {
    if (asks === undefined || back.answered || resumable) back.end();
    else fail(new IdentityError('mcp_upstream', `the MCP server ${how} before the answer`));
  };
  response.on('end', () => over('ended its stream'));
  response.on('close', () => {
    if (!response.complete) over('closed the connection');
  });
}

const NOWHERE = { id: undefined, retry: undefined };
