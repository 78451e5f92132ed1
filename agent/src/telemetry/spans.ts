/**
 * Spans and durations of MCP messages by the semantic conventions of OpenTelemetry for MCP (development, 2026). Nothing
 * that may be secret is in them: no arguments, no results, no messages of errors, no query of a URI; known secrets in
 * names are masked.
 */
import { masked } from '@chancery/shared/audit/masked.ts';
import type { Message } from '@chancery/shared/mcp/message.ts';
import {
  type Attributes,
  type Histogram,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import type { OpenSpan, SpanDecision, SpanEnd, SpanStart, Spans } from '../mcp/spans.ts';
import { KnownNames } from './names.ts';
import { carrierOf, parentsOf, withContext } from './trace-context.ts';

export interface Instruments {
  readonly tracer: Tracer;
  /** Seconds. */
  readonly durations: Histogram;
  /** `server` for the gateway, `client` for connect. */
  readonly role: 'client' | 'server';
}

/** The methods of the conventions, and those of 2026-07-28. Any other is `_OTHER` where it would become a series. */
const METHODS: ReadonlySet<string> = new Set([
  ...['initialize', 'ping', 'server/discover', 'completion/complete', 'logging/setLevel'],
  ...['tools/call', 'tools/list', 'prompts/get', 'prompts/list', 'subscriptions/listen'],
  ...['resources/list', 'resources/read', 'resources/subscribe', 'resources/unsubscribe'],
  ...['resources/templates/list', 'roots/list', 'sampling/createMessage', 'elicitation/create'],
  ...['tasks/get', 'tasks/list', 'tasks/result', 'tasks/cancel', 'tasks/update'],
  ...['notifications/cancelled', 'notifications/initialized', 'notifications/progress'],
  ...['notifications/message', 'notifications/roots/list_changed'],
]);
const OTHER = '_OTHER';
/** Both ends of the connection between connect and the gateway. */
const TRANSPORT = { 'network.transport': 'tcp', 'network.protocol.name': 'http' } as const;
const VERSION = /^\d{4}-\d{2}-\d{2}$/;

/** Never throws: a message passes whatever becomes of its span. */
export function spansWith({ tracer, durations, role }: Instruments): Spans {
  const names = new KnownNames();
  const kind = role === 'server' ? SpanKind.SERVER : SpanKind.CLIENT;
  return {
    begin(start) {
      const method = METHODS.has(start.message.method) ? start.message.method : OTHER;
      const { parent, ambient } = parentsOf(start.message, start.headers);
      const context = parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent);
      const attributes = { ...boundedOf(start, method), ...detailsOf(start) };
      const links = ambient === undefined ? [] : [{ context: ambient }];
      const span = tracer.startSpan(method, { kind, attributes, links }, context);
      const measure = (seconds: number, how: SpanEnd, tool: string | undefined): void =>
        durations.record(seconds, {
          ...boundedOf(start, method),
          ...endingOf(how),
          ...nameOf(start, names.of(start.server, tool, how.error === undefined)),
        });
      return new TracedMessage(span, { method, start, measure });
    },
  };
}

interface About {
  readonly method: string;
  readonly start: SpanStart;
  readonly measure: (seconds: number, how: SpanEnd, name: string | undefined) => void;
}

/** One message, from its arrival to its answer. */
class TracedMessage implements OpenSpan {
  readonly headers: Readonly<Record<string, string>>;
  readonly #span: Span;
  readonly #about: About;
  readonly #startedMs = performance.now();
  #ended = false;
  #name: string | undefined;

  constructor(span: Span, about: About) {
    this.#span = span;
    this.#about = about;
    this.headers = carrierOf(span.spanContext());
  }

  onward<M extends Message>(message: M): M {
    return withContext(message, this.headers);
  }

  decided({ record, decision, rule, tool, prompt, resource }: SpanDecision): void {
    const { method, start } = this.#about;
    this.#name = tool ?? prompt;
    this.#span.setAttributes({
      'chancery.decision': decision,
      'chancery.record.id': record,
      ...(rule === undefined ? {} : { 'chancery.rule': rule }),
      ...nameOf(start, tool ?? prompt),
      ...(resource === undefined ? {} : { 'mcp.resource.uri': withoutQuery(masked(resource)) }),
    });
    // A name that no rule allows may be anything, and names of spans are grouped by.
    if (decision !== 'denied' && this.#name !== undefined)
      this.#span.updateName(`${method} ${masked(this.#name)}`);
  }

  end(how: SpanEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#span.setAttributes(endingOf(how));
    if (how.error !== undefined) this.#span.setStatus({ code: SpanStatusCode.ERROR });
    this.#span.end();
    this.#about.measure((performance.now() - this.#startedMs) / 1000, how, this.#name);
  }
}

/** Attributes of few values, for spans and durations. */
function boundedOf({ server, version, message }: SpanStart, method: string): Attributes {
  return {
    'mcp.method.name': method,
    'chancery.server': server,
    ...TRANSPORT,
    ...(message.method === 'tools/call' ? { 'gen_ai.operation.name': 'execute_tool' } : {}),
    ...(version !== undefined && VERSION.test(version) ? { 'mcp.protocol.version': version } : {}),
  };
}

/** Attributes that only spans have. */
function detailsOf({ caller, session, message }: SpanStart): Attributes {
  return {
    ...(caller === undefined ? {} : { 'chancery.caller': caller }),
    ...(session === undefined ? {} : { 'mcp.session.id': session }),
    ...(message.kind === 'request' ? { 'jsonrpc.request.id': masked(String(message.id)) } : {}),
  };
}

function nameOf({ message }: SpanStart, name: string | undefined): Attributes {
  if (name === undefined) return {};
  return { [message.method.startsWith('tools/') ? 'gen_ai.tool.name' : 'gen_ai.prompt.name']: masked(name) };
}

const endingOf = ({ error, rpcCode }: SpanEnd): Attributes => ({
  ...(error === undefined ? {} : { 'error.type': error }),
  ...(rpcCode === undefined ? {} : { 'rpc.response.status_code': String(rpcCode) }),
});

/** What follows the path may be a key of its owner's. */
const withoutQuery = (uri: string): string => uri.replace(/[?#].*$/s, '').replace(/^([^/]*\/\/)[^/]*@/, '$1');
