/**
 * JSON-RPC 2.0 as MCP uses it, read strictly: one message per body, exact names of keys, and no other keys. The gateway
 * forwards `writeMessage` of what it read, never the received bytes, so the next reader cannot see anything else.
 */
import { ensure } from '../ground/errors.ts';
import { isJsonObject, type Json, type JsonObject, parseJson } from '../ground/json.ts';

export type Id = string | number;

export interface Request {
  readonly kind: 'request';
  readonly id: Id;
  readonly method: string;
  readonly params: JsonObject | undefined;
}

export interface Notification {
  readonly kind: 'notification';
  readonly method: string;
  readonly params: JsonObject | undefined;
}

/** An answer with a result, or with an error; an error may lack the id of a request that could not be read. */
export type Response =
  | { readonly kind: 'response'; readonly id: Id; readonly result: JsonObject; readonly error: undefined }
  | {
      readonly kind: 'response';
      readonly id: Id | undefined;
      readonly result: undefined;
      readonly error: RpcError;
    };

export interface RpcError {
  readonly code: number;
  readonly message: string;
  readonly data?: Json | undefined;
}

export type Message = Request | Notification | Response;

/** Schemas of tools nest less than this. Each level costs the reader a stack frame. */
const MAX_DEPTH = 64;
const BY_SENDER = {
  client: { oddStrings: 'values' },
  // A result may be a table of small numbers.
  server: { oddStrings: 'everywhere', bytesPerValue: 8 },
} as const;
/** From this depth on there are arguments and parts of results; ids, codes and counters of the protocol are above. */
const SPELLED_FROM = 3;
const MAX_ID = 256;
const MAX_METHOD = 128;
const ENVELOPE = new Set(['jsonrpc', 'id', 'method', 'params', 'result', 'error']);

/**
 * Throws mcp_parse. A client's message may hold an escaped NUL or a lone surrogate in values; a server's also in keys,
 * for no policy reads those.
 */
export function readMessage(
  bytes: Uint8Array,
  maxBytes: number,
  from: 'client' | 'server' = 'client',
): Message {
  const limits = { code: 'mcp_parse', maxBytes, maxDepth: MAX_DEPTH, spelledFrom: SPELLED_FROM } as const;
  const value = parseJson(bytes, { ...limits, ...BY_SENDER[from] });
  ensure(!Array.isArray(value), 'mcp_parse', 'the message is a batch, which MCP had in 2025-03-26 only');
  ensure(isJsonObject(value), 'mcp_parse', 'the message is not one JSON object');
  // A lenient reader downstream could take `Method` for `method`, and see another message.
  for (const key of Object.keys(value))
    ensure(ENVELOPE.has(key), 'mcp_parse', 'the message has a key that JSON-RPC does not know');
  ensure(value['jsonrpc'] === '2.0', 'mcp_parse', 'the message is not JSON-RPC 2.0');
  return value['method'] === undefined ? readResponse(value) : readCall(value);
}

/** The message as one line of JSON, its keys in a fixed order. */
export function writeMessage(message: Message): string {
  if (message.kind !== 'response') {
    const { method, params } = message;
    const id = message.kind === 'request' ? message.id : undefined;
    return JSON.stringify({ jsonrpc: '2.0', id, method, params });
  }
  const { id, result, error } = message;
  return JSON.stringify({ jsonrpc: '2.0', id: id ?? null, result, error });
}

/**
 * An error response. Without an id it is written with `id: null`, as JSON-RPC has it for a request that could not be
 * read.
 */
export function errorResponse(id: Id | undefined, error: RpcError): Response {
  return { kind: 'response', id, result: undefined, error };
}

function readCall(message: JsonObject): Request | Notification {
  const { method, params, id } = message;
  ensure(typeof method === 'string' && method !== '', 'mcp_parse', 'the method is not a name');
  ensure(method.length <= MAX_METHOD, 'mcp_parse', `the method has more than ${MAX_METHOD} characters`);
  ensure(params === undefined || isJsonObject(params), 'mcp_parse', 'params is not an object');
  ensure(
    message['result'] === undefined && message['error'] === undefined,
    'mcp_parse',
    'the message is a call and a response at once',
  );
  if (id === undefined) return { kind: 'notification', method, params };
  return { kind: 'request', id: readId(id), method, params };
}

function readResponse(message: JsonObject): Response {
  const { id } = message;
  const [result, error] = [besides(message, 'result', 'error'), besides(message, 'error', 'result')];
  ensure(message['params'] === undefined, 'mcp_parse', 'the message has params and no method');
  ensure(
    (result === undefined) !== (error === undefined),
    'mcp_parse',
    'the message is no call and no response',
  );
  if (error !== undefined) {
    const answered = id === undefined || id === null ? undefined : readId(id);
    return { kind: 'response', id: answered, result: undefined, error: readError(error) };
  }
  ensure(isJsonObject(result), 'mcp_parse', 'the result is not an object');
  return { kind: 'response', id: readId(id), result, error: undefined };
}

/**
 * Exactly one of result and error is present (JSON-RPC 2.0 section 5). Some peers write null for the other, as JSON-RPC
 * 1.0 did.
 */
function besides(message: JsonObject, member: string, other: string): Json | undefined {
  const value = message[member];
  return value === null && message[other] !== undefined ? undefined : value;
}

/** JSON-RPC allows fractions and null; MCP does not (basic, "Requests"). */
function readId(id: Json | undefined): Id {
  if (typeof id === 'string') {
    ensure(id.length <= MAX_ID, 'mcp_parse', `the id has more than ${MAX_ID} characters`);
    return id;
  }
  ensure(
    typeof id === 'number' && Number.isSafeInteger(id),
    'mcp_parse',
    'the id is neither a string nor an integer',
  );
  return id;
}

/** Keeps the three members that JSON-RPC gives an error (section 5.1). */
function readError(error: Json): RpcError {
  ensure(isJsonObject(error), 'mcp_parse', 'the error is not an object');
  const { code, message, data } = error;
  // A number beyond 32 bits ends the session of clients that keep codes in such an integer (the Java SDK over stdio).
  ensure(
    typeof code === 'number' && (code | 0) === code,
    'mcp_parse',
    "the error's code is not an integer of 32 bits",
  );
  ensure(typeof message === 'string', 'mcp_parse', "the error's message is not a string");
  return { code, message, data };
}
