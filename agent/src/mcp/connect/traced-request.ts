/**
 * The span of one HTTP request of a local client. Connect does not read answers, so the span knows of an error only
 * what the status says; the gateway's span, its child, has the rest.
 */
import type { ServerResponse } from 'node:http';
import { type Message, readMessage, writeMessage } from '@chancery/shared/mcp/message.ts';
import type { Dialler, Posted } from './dial.ts';

/** The request as the gateway gets it. One that cannot be read passes as it is: the gateway refuses and records it. */
export function traced(
  { spans, server }: Pick<Dialler, 'spans' | 'server'>,
  posted: Posted,
  { res, maxRequestBytes }: { readonly res: ServerResponse; readonly maxRequestBytes: number },
): Posted {
  const { body, headers } = posted;
  const message = spans === undefined || body === undefined ? undefined : readable(body, maxRequestBytes);
  if (spans === undefined || message === undefined || message.kind === 'response') return posted;
  const span = spans.begin({
    server,
    message,
    version: headers['mcp-protocol-version'],
    headers: traceOf(headers),
  });
  res.once('close', () => span.end(res.writableFinished ? endBy(res.statusCode) : { error: 'abandoned' }));
  return { ...posted, headers: { ...headers, ...span.headers }, body: writeMessage(span.onward(message)) };
}

function readable(body: Uint8Array | string, maxBytes: number): Message | undefined {
  try {
    return readMessage(typeof body === 'string' ? Buffer.from(body) : body, maxBytes);
  } catch {
    return undefined;
  }
}

const traceOf = ({ traceparent, tracestate }: Posted['headers']) => ({ traceparent, tracestate });

const endBy = (status: number) => (status < 400 ? {} : { error: String(status) });
