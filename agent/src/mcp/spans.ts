/** What connect and the gateway tell of a message for its span, without any exporter or library. */
import type { Message, Notification, Request } from '@chancery/shared/mcp/message.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

export interface SpanStart {
  /** The McpServer resource's name. */
  readonly server: string;
  /** Its `_meta` may name the span that it belongs to. */
  readonly message: Request | Notification;
  /** The headers `traceparent` and `tracestate` of its HTTP request. */
  readonly headers?: TraceHeaders | undefined;
  readonly caller?: SpiffeId | undefined;
  /** The id of the session that the client knows. */
  readonly session?: string | undefined;
  /** The protocol version that the client names. */
  readonly version?: string | undefined;
}

/** W3C Trace Context section 3, as they came. */
export interface TraceHeaders {
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
}

export interface SpanEnd {
  /** `error.type` of the semantic conventions: a word of a short list, or a JSON-RPC code. Undefined for a success. */
  readonly error?: string | undefined;
  /** The code of a JSON-RPC error. */
  readonly rpcCode?: number | undefined;
}

export interface SpanDecision {
  readonly record: string;
  readonly decision: 'allowed' | 'observed' | 'denied';
  readonly rule: string | undefined;
  /** What was asked for by name. */
  readonly tool?: string | undefined;
  readonly prompt?: string | undefined;
  readonly resource?: string | undefined;
}

/** One message on its way. */
export interface OpenSpan {
  /** The message as the next hop gets it: its `_meta` names this span. */
  onward<M extends Message>(message: M): M;
  /** W3C Trace Context section 3.2: this span, for the next hop's HTTP request. */
  readonly headers: Readonly<Record<string, string>>;
  /** Says how the message was decided. */
  decided(decision: SpanDecision): void;
  /** Ends it. Does nothing the second time. */
  end(how: SpanEnd): void;
}

export interface Spans {
  /** Never throws and never waits. The caller ends the span. */
  begin(start: SpanStart): OpenSpan;
}

/** How an answer ends its request's span: `tool_error` for a result that says so itself. */
export function endOf(answer: Message): SpanEnd {
  if (answer.kind !== 'response') return {};
  const { error, result } = answer;
  if (error !== undefined) return { error: String(error.code), rpcCode: error.code };
  return result['isError'] === true ? { error: 'tool_error' } : {};
}
