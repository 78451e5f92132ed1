/** Refusals on the wire: an HTTP status, and a JSON-RPC error that a client can show. */
import type { ServerResponse } from 'node:http';
import { type IdentityError, REFUSALS, type Refusal } from '@chancery/shared/ground/errors.ts';
import { isNotJson } from '@chancery/shared/ground/json.ts';
import {
  errorResponse,
  type Id,
  type Response,
  type RpcError,
  writeMessage,
} from '@chancery/shared/mcp/message.ts';
import type { Denied } from '@chancery/shared/policy/decision.ts';

/**
 * The HTTP status and the JSON-RPC code of each refusal that a client of MCP can meet; of others, 500 and -32603. Codes
 * are those of JSON-RPC (section 5.1), of MCP 2026-07-28, and our own, which are outside -32768..-32000.
 */
export const WIRE: { readonly [code in Refusal]?: readonly [status: number, rpc: number] } = {
  mcp_parse: [400, -32600],
  mcp_size: [413, -32600],
  mcp_media: [415, -32600],
  mcp_accept: [406, -32600],
  mcp_headers: [400, -32020],
  mcp_meta: [400, -32602],
  mcp_version: [400, -32022],
  mcp_state: [400, -32602],
  mcp_method: [405, -31405],
  mcp_unknown: [404, -32601],
  // Clients begin a new session on 404 (2025-11-25, transports). The SDKs look for this code, too.
  mcp_session: [404, -32001],
  mcp_call: [403, -31403],
  mcp_origin: [403, -31403],
  mcp_upstream: [502, -31502],
  mcp_outcome: [502, -31502],
  wrong_peer: [502, -31502],
  server_unknown: [404, -31404],
  peer_uid: [403, -31403],
  peer_unknown: [403, -31403],
  expired_peer: [401, -31401],
  revoked_peer: [401, -31401],
  no_peer: [401, -31401],
  mcp_sessions: [503, -31503],
  rate: [503, -31503],
  unavailable: [503, -31503],
  ca_unheard: [503, -31503],
  audit_spool: [503, -31503],
};
export const DENIED = -31403;
/** Denied for now: the caller is above a rate. */
export const TOO_MANY = -31429;
/** JSON-RPC 2.0 section 5.1, "Parse error". */
const NO_JSON = -32700;

/** The HTTP status and the JSON-RPC code of a refusal. */
const onWire = (error: IdentityError): readonly [status: number, rpc: number] => {
  const [status, code] = WIRE[error.code] ?? [500, -32603];
  return [status, error.code === 'mcp_parse' && isNotJson(error) ? NO_JSON : code];
};

/** Refusals of the client's own message, or failures of its server: the client gets the details. */
const TOLD: ReadonlySet<Refusal> = new Set([
  'mcp_parse',
  'mcp_size',
  'mcp_media',
  'mcp_accept',
  'mcp_headers',
  'mcp_meta',
  'mcp_version',
  'mcp_state',
  'mcp_upstream',
  'mcp_outcome',
  'mcp_sessions',
  'wrong_peer',
  'server_unknown',
]);

/** The only part of an error that clients show. */
export function messageOf({ code, message }: IdentityError): string {
  return TOLD.has(code) ? message : REFUSALS[code].says;
}

/**
 * These fail only one call. If its id is known they are HTTP 200: an HTTP error ends the whole session of some clients,
 * and others do not show its body.
 */
const ABOUT_ONE_CALL: ReadonlySet<Refusal> = new Set(['mcp_upstream', 'mcp_outcome', 'wrong_peer']);

/**
 * Answers with a refusal. For most codes the client gets the sentence of the table. `data` is what the protocol asks
 * for.
 */
export function refuse(
  res: ServerResponse,
  error: IdentityError,
  id: Id | undefined,
  data: RpcError['data'] = dataOf(error),
): void {
  const [status, code] = onWire(error);
  if (res.req.method === 'GET' && ABOUT_ONE_CALL.has(error.code)) {
    endSoon(res);
    return;
  }
  if (error.code === 'mcp_method') res.setHeader('allow', allowed(res.req.method));
  const shown = id !== undefined && ABOUT_ONE_CALL.has(error.code) ? 200 : status;
  writeJson(res, shown, errorResponse(id, { code, message: messageOf(error), data }));
}

/**
 * Ends a stream whose server or gateway is away for a moment, so that its client opens it again, as if it could not
 * reach the server. After an HTTP error clients give up the stream, and some their session.
 */
function endSoon(res: ServerResponse): void {
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  res.flushHeaders();
  const timer = setTimeout(() => res.end(), AWAY_MS);
  res.once('close', () => clearTimeout(timer));
}
/** Slows a client that asks again at once. */
const AWAY_MS = 1_000;

/** The methods that are allowed. Only modern clients are refused GET or DELETE, and they only post. */
function allowed(method: string | undefined): string {
  return method === 'GET' || method === 'DELETE' ? 'POST' : 'POST, GET, DELETE';
}

/** A refusal inside an event stream that is already open. */
export function refusalResponse(
  error: IdentityError,
  id: Id | undefined,
  data: RpcError['data'] = dataOf(error),
): Response {
  const [, code] = onWire(error);
  return errorResponse(id, { code, message: messageOf(error), data });
}

/**
 * For a program that decides whether to call again: no answer came, and the server may have done what was asked.
 * `decisionId` is the id of the record, where there is one. Undefined for every other refusal.
 */
export function dataOf({ code }: IdentityError, decisionId?: string): RpcError['data'] {
  if (code !== 'mcp_outcome') return undefined;
  return { outcome: 'unknown', ...(decisionId === undefined ? {} : { decisionId }) };
}

/**
 * Sent with HTTP 200, so that clients show it: after a 403 they start an OAuth flow or drop the connection. Unlike
 * other refusals it gives the reason: the caller is known, and the rule is about it.
 */
export function denial(id: Id | undefined, decision: Denied, decisionId: string): Response {
  const { reason, rule, retryAfterMs } = decision;
  const data = { reason, decisionId, ...(rule === undefined ? {} : { rule }) };
  if (retryAfterMs === undefined)
    return errorResponse(id, { code: DENIED, message: 'the call is not allowed', data });
  const message = `too many calls: try again in ${Math.ceil(retryAfterMs / 1000)} s`;
  return errorResponse(id, { code: TOO_MANY, message, data: { ...data, retryAfterMs } });
}

/** Sends the head and the whole body, and ends the response. Text is sent as it is. */
export function writeJson(res: ServerResponse, status: number, message: Response | string): void {
  const body = typeof message === 'string' ? message : writeMessage(message);
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  res.end(body);
}
