/**
 * What a client asks to be told of: changes of lists and of resources. In the modern era it asks on the stream of
 * `subscriptions/listen` (2026-07-28, "Subscriptions"), and what it may not be told of is left out: the acknowledgement
 * says what is left. In the legacy era it asks resource by resource (2025-11-25, "Resources", "Subscriptions"). All
 * notifications are built anew.
 */
import { ensure } from '../ground/errors.ts';
import { isJsonObject, type Json, type JsonObject, unspelled } from '../ground/json.ts';
import type { Id, Notification, Request } from './message.ts';

export const LISTEN = 'subscriptions/listen';
export const SUBSCRIBE = 'resources/subscribe';
export const UNSUBSCRIBE = 'resources/unsubscribe';
/** What a server says of a resource that was subscribed to, in both eras. */
export const UPDATED = 'notifications/resources/updated';
const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';
const URIS = 'resourceSubscriptions';
const ID_KEY = 'io.modelcontextprotocol/subscriptionId';

/** A list that may change, by the kind of its entries. Templates of resources are on that of resources. */
export type Listed = 'tool' | 'resource' | 'prompt';

const LISTS: Readonly<Record<Listed, { readonly key: string; readonly method: string }>> = {
  tool: { key: 'toolsListChanged', method: 'notifications/tools/list_changed' },
  resource: { key: 'resourcesListChanged', method: 'notifications/resources/list_changed' },
  prompt: { key: 'promptsListChanged', method: 'notifications/prompts/list_changed' },
};
export const LISTED: readonly Listed[] = ['tool', 'resource', 'prompt'];

/** What one subscription is about. */
export interface Filter {
  readonly lists: readonly Listed[];
  /** Of resources. */
  readonly uris: readonly string[];
}

/** A client with more asks for the list of resources. */
const MAX_URIS = 256;

/** What a client asks for. Throws mcp_parse. */
export function filterOf({ method, params }: Request): Filter {
  const asked = params?.['notifications'];
  ensure(isJsonObject(asked), 'mcp_parse', `the notifications of ${method} are missing, or no object`);
  const uris = asked[URIS] ?? [];
  ensure(
    Array.isArray(uris) && uris.every(isUri),
    'mcp_parse',
    `the ${URIS} of ${method} are no list of URIs`,
  );
  const says = `${method} names ${uris.length} resources, at most ${MAX_URIS} are taken`;
  ensure(uris.length <= MAX_URIS, 'mcp_parse', says);
  return readFilter(asked);
}

/** The request as the server gets it: it asks for this and nothing else. */
export function withFilter(request: Request, filter: Filter): Request {
  const meta = request.params?.['_meta'];
  const notifications = writeFilter(filter);
  return { ...request, params: { notifications, ...(meta === undefined ? {} : { _meta: meta }) } };
}

/** What of both is asked for and agreed to. */
const common = (one: Filter, other: Filter): Filter => ({
  lists: one.lists.filter((each) => other.lists.includes(each)),
  uris: one.uris.filter((each) => other.uris.includes(each)),
});

/** The acknowledgement that begins the stream of request `id`, narrowed to `asked`; undefined if it is none. */
export function acknowledgement(
  id: Id,
  { method, params }: Notification,
  asked: Filter,
): { readonly agreed: Filter; readonly said: Notification } | undefined {
  if (method !== ACKNOWLEDGED) return undefined;
  const found = params?.['notifications'];
  const agreed = common(asked, readFilter(isJsonObject(found) ? found : {}));
  return { agreed, said: acknowledged(id, agreed) };
}

/** Begins the stream of the request `id`, and says what it is about. */
export const acknowledged = (id: Id, agreed: Filter): Notification =>
  tagged(id, ACKNOWLEDGED, { notifications: writeFilter(agreed) });

/** The notification on the stream of the request `id`. */
export const tagged = (id: Id, method: string, params: JsonObject = {}): Notification => ({
  kind: 'notification',
  method,
  params: { ...params, _meta: { [ID_KEY]: id } },
});

/** That a list has changed. */
export const listChanged = (listed: Listed): Notification => ({
  kind: 'notification',
  method: LISTS[listed].method,
  params: undefined,
});

/** The list that the notification says has changed. */
export const changedList = ({ method }: Notification): Listed | undefined =>
  LISTED.find((each) => LISTS[each].method === method);

/** The resource that the notification says was updated; undefined if it names none. */
export function updatedUri({ params }: Notification): string | undefined {
  const uri = params?.['uri'];
  return typeof uri === 'string' ? uri : undefined;
}

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

/** What is there and has the right form. */
function readFilter(found: JsonObject): Filter {
  const uris = found[URIS];
  return {
    lists: LISTED.filter((each) => found[LISTS[each].key] === true),
    uris: Array.isArray(uris) ? [...new Set(uris.filter(isUri))] : [],
  };
}

const writeFilter = ({ lists, uris }: Filter): JsonObject => ({
  ...Object.fromEntries(lists.map((each) => [LISTS[each].key, true])),
  ...(uris.length === 0 ? {} : { [URIS]: [...uris] }),
});

/** A reader that ends a string at NUL, or writes it as UTF-8, would see another URI. */
const isUri = (found: Json): found is string =>
  typeof found === 'string' && found !== '' && !found.includes('\0') && found.isWellFormed();
