/**
 * Which trace a message belongs to (W3C Trace Context; in MCP `params._meta`, SEP-414). It is what the sender says: an
 * invalid `traceparent` begins a new trace, and takes its `tracestate` with it (section 3.3.1).
 */
import { isJsonObject, type JsonObject } from '@chancery/shared/ground/json.ts';
import type { Message } from '@chancery/shared/mcp/message.ts';
import type { SpanContext } from '@opentelemetry/api';
import { parseTraceParent, TraceState } from '@opentelemetry/core';
import type { TraceHeaders } from '../mcp/spans.ts';

/** That of version 00; a later one may be longer, and begins the same (section 3.2.4). */
const MAX_TRACEPARENT = 256;
/** What must at least be passed on (section 3.3.1.5). */
const MAX_TRACESTATE = 512;

/** Undefined if it is invalid. */
function contextOf(traceparent: unknown, tracestate: unknown): SpanContext | undefined {
  if (typeof traceparent !== 'string' || traceparent.length > MAX_TRACEPARENT) return undefined;
  const parsed = parseTraceParent(traceparent);
  if (parsed === null) return undefined;
  const known = typeof tracestate === 'string' && tracestate !== '' && tracestate.length <= MAX_TRACESTATE;
  const state = known ? { traceState: new TraceState(tracestate) } : {};
  return { ...parsed, ...state, isRemote: true };
}

export interface Parents {
  /** Undefined if a trace begins here. */
  readonly parent: SpanContext | undefined;
  /** That of the HTTP request, if the message has another one. */
  readonly ambient: SpanContext | undefined;
}

/** The message's own context comes before that of its HTTP request, which is linked (conventions for MCP). */
export function parentsOf(message: Message, headers: TraceHeaders | undefined): Parents {
  const meta = metaOf(message) ?? {};
  const own = contextOf(meta['traceparent'], meta['tracestate']);
  const ambient = contextOf(headers?.traceparent, headers?.tracestate);
  if (own === undefined) return { parent: ambient, ambient: undefined };
  return { parent: own, ambient: ambient?.spanId === own.spanId ? undefined : ambient };
}

/** As headers and as keys of `_meta`. */
export function carrierOf({ traceId, spanId, traceFlags, traceState }: SpanContext): Record<string, string> {
  const traceparent = `00-${traceId}-${spanId}-${(traceFlags & 0xff).toString(16).padStart(2, '0')}`;
  const tracestate = traceState?.serialize() ?? '';
  return tracestate === '' ? { traceparent } : { traceparent, tracestate };
}

/** The message with this context instead of its own. The server refuses a `_meta` of another type. */
export function withContext<M extends Message>(message: M, carrier: Readonly<Record<string, string>>): M {
  if (message.kind === 'response') return message;
  const { params } = message;
  if (params?.['_meta'] !== undefined && metaOf(message) === undefined) return message;
  const { traceparent: _, tracestate: __, ...meta } = metaOf(message) ?? {};
  return { ...message, params: { ...params, _meta: { ...meta, ...carrier } } };
}

function metaOf(message: Message): JsonObject | undefined {
  const meta = message.kind === 'response' ? undefined : message.params?.['_meta'];
  return isJsonObject(meta) ? meta : undefined;
}
