/**
 * The stream of `subscriptions/listen` (2026-07-28, "Subscriptions"). There are rules only for the list of tools, so a
 * subscription is narrowed to its changes, and messages on it are built anew.
 */
import { isJsonObject, type JsonObject, unspelled } from '../ground/json.ts';
import type { Id, Notification, Request } from './message.ts';

export const LISTEN = 'subscriptions/listen';
const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';
const CHANGED = 'notifications/tools/list_changed';
const TOOLS = 'toolsListChanged';
const ID_KEY = 'io.modelcontextprotocol/subscriptionId';

/** True if the client asks for changes of the list of tools. */
export const listensToTools = ({ params }: Request): boolean => hasTools(params?.['notifications']);

/** The request as the server gets it: it asks for changes of the list of tools only. */
export const narrowListen = (request: Request): Request => ({
  ...request,
  params: { ...request.params, notifications: { [TOOLS]: true } },
});

/** The notification for the client that listens by request `id`; undefined if it does not belong there. */
export function onSubscription(id: Id, { kind, method, params }: Notification): Notification | undefined {
  const meta = { _meta: { [ID_KEY]: id } };
  if (method === CHANGED) return { kind, method, params: meta };
  if (method !== ACKNOWLEDGED) return undefined;
  const notifications = hasTools(params?.['notifications']) ? { [TOOLS]: true } : {};
  return { kind, method, params: { notifications, ...meta } };
}

/** True for the notification that a subscription to the list of tools begins with. */
export const acknowledgesTools = ({ method, params }: Notification): boolean =>
  method === ACKNOWLEDGED && hasTools(params?.['notifications']);

/** The result that ends a subscription names it; any other stays as it is. */
export function resultOf(asked: { method: string; requestId: Id }, result: JsonObject): JsonObject {
  if (asked.method !== LISTEN) return result;
  const meta = isJsonObject(result['_meta']) ? result['_meta'] : {};
  return { ...result, _meta: { ...meta, [ID_KEY]: asked.requestId } };
}

/** Of a notification on a channel that several subscriptions share. */
export function subscriptionOf({ params }: Notification): Id | undefined {
  const meta = params?.['_meta'];
  const id = isJsonObject(meta) ? unspelled(meta[ID_KEY]) : undefined;
  return typeof id === 'string' || typeof id === 'number' ? id : undefined;
}

const hasTools = (filter: unknown): boolean =>
  typeof filter === 'object' && filter !== null && Reflect.get(filter, TOOLS) === true;
