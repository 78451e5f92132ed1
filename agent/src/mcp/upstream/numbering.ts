/** Ids and progress tokens inside messages, which have to be unique for whoever reads them. */
import { isJsonObject, unspelled } from '@chancery/shared/ground/json.ts';
import type { Id, Message, Notification, Request } from '@chancery/shared/mcp/message.ts';

export const CANCELLED = 'notifications/cancelled';

/** Undefined where it names no request. */
export function cancelledId({ params }: Notification): Id | undefined {
  const id = params?.['requestId'];
  return typeof id === 'string' || typeof id === 'number' ? id : undefined;
}

/** Servers that keep ids as text send a number back as a string; clients of the SDKs read it as that number. */
export function underItsId(message: Message, asked: Id | undefined): Message {
  return message.kind === 'response' && typeof asked === 'number' && message.id === String(asked)
    ? { ...message, id: asked }
    : message;
}

/**
 * The token under `_meta`; undefined where the request wants no progress, or the token is neither text nor a number.
 */
export function progressTokenOf({ params }: Request): Id | undefined {
  const meta = params?.['_meta'];
  const token = isJsonObject(meta) ? unspelled(meta['progressToken']) : undefined;
  return typeof token === 'string' || typeof token === 'number' ? token : undefined;
}

/** The request as it is where it has no token. */
export function withProgressToken(request: Request, token: Id | undefined): Message {
  const meta = request.params?.['_meta'];
  if (token === undefined || !isJsonObject(meta)) return request;
  return { ...request, params: { ...request.params, _meta: { ...meta, progressToken: token } } };
}

/** RFC 5424 section 6.2.1, the least first. */
const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

/** 2026-07-28, "Logging": a request that wants log messages says their least level. Undefined where it wants none. */
export function leastLevelOf({ params }: Request): number | undefined {
  const meta = params?.['_meta'];
  const level = isJsonObject(meta) ? meta['io.modelcontextprotocol/logLevel'] : undefined;
  return level === undefined ? undefined : Math.max(0, LEVELS.indexOf(String(level)));
}

/** Of a log message; one of a level that is not known is for whoever wants any. */
export function levelOf({ params }: Notification): number {
  const at = LEVELS.indexOf(String(params?.['level']));
  return at === -1 ? LEVELS.length : at;
}
