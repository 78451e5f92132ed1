/** Decides which messages a server may send unasked. */
import type { Notification, Request } from '@chancery/shared/mcp/message.ts';
import type { FreeText } from '@chancery/shared/mcp/results.ts';
import { LISTEN, onSubscription } from '@chancery/shared/mcp/subscription.ts';

/** Others, such as `resources/updated`, are about what no rule allows. */
const OPEN_TO_CLIENT = new Set([
  'notifications/cancelled',
  'notifications/progress',
  'notifications/message',
  'notifications/tools/list_changed',
]);

/** The notification as it goes to the client; undefined if it may not. */
export function told(
  message: Notification,
  request: Request | undefined,
  freeText: FreeText,
): Notification | undefined {
  if (request?.method === LISTEN) return onSubscription(request.id, message);
  return mayTell(message.method, freeText) ? message : undefined;
}

/** True for requests that a server may send to the client: only ping, until there are rules for others. */
export function mayAsk(method: string): boolean {
  return method === 'ping';
}

function mayTell(method: string, { logs }: FreeText): boolean {
  return OPEN_TO_CLIENT.has(method) && (logs || method !== 'notifications/message');
}
