/**
 * The level from which on a client gets log messages: a request of its own in the legacy era (2025-11-25, "Logging"),
 * and a key under `_meta` of each request in the modern one (2026-07-28, "Logging").
 */
import { ensure } from '../ground/errors.ts';
import { isJsonObject } from '../ground/json.ts';
import type { Notification, Request } from './message.ts';

/** The request of the legacy era. */
export const SET_LEVEL = 'logging/setLevel';
export const LOG = 'notifications/message';
const LEVEL_KEY = 'io.modelcontextprotocol/logLevel';

/** Of a request that sets it. Throws mcp_parse. */
export function levelOf({ method, params = {} }: Request): string {
  for (const key of Object.keys(params))
    ensure(['level', '_meta'].includes(key), 'mcp_parse', `${method} has a key other than level and _meta`);
  const { level } = params;
  ensure(typeof level === 'string', 'mcp_parse', `the level of ${method} is missing, or is no text`);
  return level;
}

/** Of a log message. Undefined if it has none. */
export function levelIn({ params }: Notification): string | undefined {
  const level = params?.['level'];
  return typeof level === 'string' ? level : undefined;
}

/** The request with the level that `lowered` gives for its own; without one where that is undefined. */
export function withLevel(request: Request, lowered: (level: string) => string | undefined): Request {
  const { params } = request;
  const meta = params?.['_meta'];
  const asked = isJsonObject(meta) ? meta[LEVEL_KEY] : undefined;
  if (!isJsonObject(meta) || asked === undefined) return request;
  const level = typeof asked === 'string' ? lowered(asked) : undefined;
  if (level === asked) return request;
  const { [LEVEL_KEY]: _, ...rest } = meta;
  return {
    ...request,
    params: { ...params, _meta: level === undefined ? rest : { ...rest, [LEVEL_KEY]: level } },
  };
}
