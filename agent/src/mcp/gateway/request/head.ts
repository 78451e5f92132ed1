/** The head of an HTTP request, read once. It says how to read the body; decisions are made on the body. */
import type { IncomingMessage } from 'node:http';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { McpHeaders } from '@chancery/shared/mcp/era.ts';
import type { TraceHeaders } from '../../spans.ts';
import { header } from '../../wire/http-body.ts';

export interface Head {
  readonly method: string;
  readonly mcp: McpHeaders;
  readonly session: string | undefined;
  readonly lastEventId: string | undefined;
  /** In lower case. */
  readonly accept: string;
  /** `Mcp-Param-*`: the only headers of a client that are forwarded, since the server compares them (2026-07-28). */
  readonly params: Readonly<Record<string, string>>;
  /** W3C Trace Context; what the body says comes first. */
  readonly trace: TraceHeaders;
  /** The client waits for 100 Continue before it sends the body. */
  readonly expects: boolean;
  /** The length of the body; undefined if the head does not say it. */
  readonly bytes: number | undefined;
}

/** Reads the headers that MCP uses. Never throws: each is checked where it is used. */
export function readHead(req: IncomingMessage): Head {
  const { 'transfer-encoding': coding, 'content-length': length = '0', expect } = req.headers;
  const params: Record<string, string> = {};
  for (const name in req.headers) if (name.startsWith('mcp-param-')) params[name] = header(req, name) ?? '';
  return {
    method: String(req.method),
    mcp: {
      version: header(req, 'mcp-protocol-version'),
      method: header(req, 'mcp-method'),
      name: header(req, 'mcp-name'),
    },
    session: header(req, 'mcp-session-id'),
    lastEventId: header(req, 'last-event-id'),
    accept: (header(req, 'accept') ?? '').toLowerCase(),
    params,
    trace: { traceparent: header(req, 'traceparent'), tracestate: header(req, 'tracestate') },
    expects: expect !== undefined,
    bytes: coding === undefined ? Number(length) : undefined,
  };
}

/** Throws mcp_accept. */
export function ensureAccepts({ accept }: Head, type: string): void {
  ensure(accept.includes(type), 'mcp_accept', `Accept does not list ${type}`);
}
