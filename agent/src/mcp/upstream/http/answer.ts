/** Reads the answer of an MCP server over HTTP by its status and type, and decides what the client gets. */
import type { IncomingMessage } from 'node:http';
import type { Weight } from '@chancery/shared/door/weights.ts';
import { withoutBom } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { errorResponse, type Message, type Response, readMessage } from '@chancery/shared/mcp/message.ts';
import { switched } from '../../wire/answer/outcome.ts';
import { isSessionLost, sessionLost } from '../../wire/answer/session-lost.ts';
import { header, isEventStream, isJson, readBody } from '../../wire/http-body.ts';
import { underItsId } from '../numbering.ts';
import { type Back, badAnswer, MAX_ANSWER_BYTES, type Outbound } from '../upstream.ts';
import { type Asking, receiveStream } from './stream.ts';

/**
 * These statuses make a client begin an OAuth flow. Whether the server trusts the gateway does not concern the client.
 */
const NOT_FOR_CLIENTS = new Set([401, 403, 407]);
/** RFC 9110 section 15.4. Of the other 3xx, 304 is about a cache and 300 is a choice. */
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** Answers of servers to a GET or DELETE that they do not support. */
const NOT_SERVED = new Set([400, 404, 405, 406, 501]);

/** Answers of a proxy in front of a server that starts. */
const AWAY = new Set([502, 503, 504]);

/** What `receive` needs to know of the request that was sent. */
export function askingOf(outbound: Outbound): Omit<Asking, 'method' | 'back' | 'skip' | 'onRedirect'> {
  const { era, session, message, headers } = outbound;
  const { method: asks, id } = message?.kind === 'request' ? message : { method: undefined, id: undefined };
  return { era, session, asks, id, resumes: headers['last-event-id'] !== undefined };
}

/** Passes the answer to `asking.back`, piece by piece. Never throws: failures go to `back.fail`. */
export function receive(response: IncomingMessage, asking: Asking): void {
  const { method, back, asks } = asking;
  const status = response.statusCode ?? 502;
  let failed = false;
  const fail = (error: unknown): void => {
    response.destroy();
    if (!failed) back.fail(badAnswer(error));
    failed = true;
  };
  let onBroken = fail;
  response.on('error', (error) => onBroken(error));
  try {
    if (status < 200) throw switched(status);
    const type = header(response, 'content-type');
    const isSuccess = status >= 200 && status < 300;
    // Any status may carry a result. On an error the session has to be ended.
    const begins = asks === 'initialize';
    const session = header(response, 'mcp-session-id');
    if (begins && session !== undefined) back.session(session);
    // No body is expected (2025-11-25, transports: 202 without a body), so it is ignored.
    if (method === 'POST' && asks === undefined && isSuccess) {
      response.resume();
      back.answer(202, undefined);
    } else if (isSuccess && isEventStream(type)) {
      ensureNotCoded(response);
      // After any end the client may resume the stream.
      onBroken = () => {};
      receiveStream(response, begins ? { ...asking, session: session ?? asking.session } : asking, fail);
    } else whole(response, status, asking).catch(fail);
  } catch (error) {
    fail(error);
  }
}

async function whole(response: IncomingMessage, status: number, asking: Asking): Promise<void> {
  const { method, back, session, resumes, asks } = asking;
  if (status < 300) ensureNotCoded(response);
  const bytes = await readBody(response, MAX_ANSWER_BYTES, () => weightOf(back));
  back.holding(0);
  if (status >= 300 && (status < 400 || NOT_FOR_CLIENTS.has(status))) {
    if (REDIRECTS.has(status)) asking.onRedirect(header(response, 'location'));
    answerFailed(status, 502, asking);
    return;
  }
  const read = messageIn(response, bytes, status, asking);
  // A POST or DELETE without a request has no result: the client would take this one for the result of an open call.
  const unasked = asks === undefined && method !== 'GET' && read !== undefined && isResult(read);
  const message = unasked ? undefined : read;
  // A 404 counts only for what a server must support: one without GET answers 404 in a session that it knows.
  const tells = session !== undefined && (method === 'POST' || (method === 'GET' && resumes));
  if (tells && isSessionLost({ status, message, body: bytes, id: asking.id }))
    back.answer(404, sessionLost());
  else if (listensInVain(status, asking)) back.open();
  else if (method === 'DELETE' && NOT_SERVED.has(status)) back.answer(204, undefined);
  else if (message !== undefined) back.answer(isResult(message) ? 200 : shownStatus(status, asking), message);
  else if (method === 'GET' && AWAY.has(status))
    throw new IdentityError('mcp_upstream', `the MCP server answered HTTP ${status}`);
  else if (status >= 400) answerFailed(status, status, asking);
  else if (asks === undefined) back.answer(status, undefined);
  else throw new IdentityError('mcp_upstream', `no answer in HTTP ${status}: ${found(response, bytes)}`);
}

/**
 * True if the server has no stream for unasked messages (2025-11-25, "Listening for Messages from the Server"): it
 * answers 405, or what its framework answers to an unknown method. The client then keeps a stream with the gateway
 * alone, which notifies it when rules change. A client that resumes waits for an answer instead.
 */
function listensInVain(status: number, { method, resumes }: Asking): boolean {
  return method === 'GET' && !resumes && NOT_SERVED.has(status);
}

/** Counts the bytes of an incomplete body as those of an event. */
function weightOf(back: Back): Weight {
  let held = 0;
  const set = (bytes: number): void => {
    held = bytes;
    back.holding(held);
  };
  return { add: (bytes) => set(held + bytes), free: () => set(0) };
}

function ensureNotCoded(response: IncomingMessage): void {
  const coding = header(response, 'content-encoding') ?? 'identity';
  ensure(
    coding.toLowerCase() === 'identity',
    'mcp_upstream',
    `the answer of the MCP server has the Content-Encoding ${shown(coding)}, and none was asked for`,
  );
}

function found(response: IncomingMessage, bytes: Buffer): string {
  const type = header(response, 'content-type');
  if (bytes.length === 0) return 'its body is empty';
  if (type === undefined) return 'it has no Content-Type; application/json is expected';
  return `its Content-Type is ${shown(type)}; application/json in UTF-8 is expected`;
}

const shown = (value: string): string =>
  value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}...` : value;
const MAX_SHOWN = 100;

/**
 * The message in a body. An HTTP error may come from a framework or a proxy, so its body counts only if it is JSON-RPC.
 */
function messageIn(
  response: IncomingMessage,
  bytes: Buffer,
  status: number,
  { id }: Asking,
): Message | undefined {
  if (bytes.length === 0 || !isJson(header(response, 'content-type'))) return undefined;
  try {
    return underItsId(readMessage(withoutBom(bytes), MAX_ANSWER_BYTES, 'server'), id);
  } catch (error) {
    if (status >= 400 && isRefusal(error, 'mcp_parse')) return undefined;
    throw error;
  }
}

function answerFailed(status: number, otherwise: number, asking: Asking): void {
  const shown = asking.asks === undefined ? otherwise : shownStatus(otherwise, asking);
  asking.back.answer(shown, failure(status));
}

/**
 * The HTTP status for the client. A failed request is HTTP 200 with the error under its id: an HTTP error ends the
 * whole session of some clients, and others do not show its body. Any other 2xx becomes 200, since clients read no
 * answer after 202. In the modern era the server's status stays: clients read the body, and learn from 4xx what the
 * server supports (2026-07-28, transports).
 */
function shownStatus(status: number, { era, asks }: Asking): number {
  const meant = era === 'modern' && status >= 400 && status < 500;
  return asks === undefined || meant ? status : 200;
}

function failure(status: number): Response {
  const why = REDIRECTS.has(status) ? REDIRECTED : '';
  return errorResponse(undefined, { code: -31502, message: `the MCP server answered HTTP ${status}${why}` });
}

/** A result makes the answer HTTP 200, whatever its status was: clients read no result in an HTTP error. */
const isResult = (message: Message): boolean => message.kind === 'response' && message.result !== undefined;

/** Does not name the server's address, which does not concern the client: the log has it. */
const REDIRECTED =
  ', a redirect, which is not followed: gateway.upstream.url has to be set to the final address';
