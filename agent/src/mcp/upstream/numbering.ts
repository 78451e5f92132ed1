/** Ids and progress tokens inside messages. Each must be unique for its reader. */
import { isJsonObject, unspelled } from '@chancery/shared/ground/json.ts';
import type { Id, Message, Notification, Request } from '@chancery/shared/mcp/message.ts';

export const CANCELLED = 'notifications/cancelled';

/** Undefined if it names no request. */
export function cancelledId({ params }: Notification): Id | undefined {
  const id = params?.['requestId'];
  return typeof id === 'string' || typeof id === 'number' ? id : undefined;
}

/** Restores the number of an answer's id: servers that keep ids as text send it back as a string. */
export function underItsId(message: Message, asked: Id | undefined): Message {
  return message.kind === 'response' && typeof asked === 'number' && message.id === String(asked)
    ? { ...message, id: asked }
    : message;
}

/** The token under `_meta`; undefined if the request wants no progress, or the token is neither text nor a number. */
export function progressTokenOf({ params }: Request): Id | undefined {
  const meta = params?.['_meta'];
  const token = isJsonObject(meta) ? unspelled(meta['progressToken']) : undefined;
  return typeof token === 'string' || typeof token === 'number' ? token : undefined;
}

/** A request without a token stays as it is. */
export function withProgressToken(request: Request, token: Id | undefined): Message {
  const meta = request.params?.['_meta'];
  if (token === undefined || !isJsonObject(meta)) return request;
  return { ...request, params: { ...request.params, _meta: { ...meta, progressToken: token } } };
}

/** RFC 5424 section 6.2.1, the least severe first. */
const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

/** The least level of log messages that the request wants (2026-07-28, "Logging"); undefined if it wants none. */
export function leastLevelOf({ params }: Request): number | undefined {
  const meta = params?.['_meta'];
  const level = isJsonObject(meta) ? meta['io.modelcontextprotocol/logLevel'] : undefined;
  return level === undefined ? undefined : Math.max(0, LEVELS.indexOf(String(level)));
}

/** The level of a log message. A message of an unknown level goes to every request that wants any. */
export function levelOf({ params }: Notification): number {
  const at = LEVELS.indexOf(String(params?.['level']));
  return at === -1 ? LEVELS.length : at;
}
