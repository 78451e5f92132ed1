/** Decides which messages a server may send unasked. */

import { LOG, levelIn } from '@chancery/shared/mcp/logging.ts';
import type { Notification, Request } from '@chancery/shared/mcp/message.ts';
import { LISTEN, onSubscription } from '@chancery/shared/mcp/subscription.ts';

/** Others, such as `resources/updated`, are about what no rule allows. */
const OPEN_TO_CLIENT = new Set([
  'notifications/cancelled',
  'notifications/progress',
  'notifications/tools/list_changed',
]);

/** The notification as it goes to the client; undefined if it may not. `mayLog` says which levels may. */
export function told(
  message: Notification,
  request: Request | undefined,
  mayLog: (level: string) => boolean,
): Notification | undefined {
  if (request?.method === LISTEN) return onSubscription(request.id, message);
  if (message.method !== LOG) return OPEN_TO_CLIENT.has(message.method) ? message : undefined;
  const level = levelIn(message);
  return level !== undefined && mayLog(level) ? message : undefined;
}

/** True for requests that a server may send to the client: only ping, until there are rules for others. */
export function mayAsk(method: string): boolean {
  return method === 'ping';
}
