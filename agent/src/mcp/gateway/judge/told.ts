/** Decides which messages a server may send unasked. */

import { type Asks, ELICITED } from '@chancery/shared/mcp/asking/asks.ts';
import { LOG, levelIn } from '@chancery/shared/mcp/logging.ts';
import type { Id, Notification } from '@chancery/shared/mcp/message.ts';
import {
  changedList,
  type Filter,
  type Listed,
  listChanged,
  tagged,
  UPDATED,
  updatedUri,
} from '@chancery/shared/mcp/subscription.ts';

import { statusIn, TASK_STATUS } from '@chancery/shared/mcp/tasks.ts';

/** Notifications about the caller's own requests. */
const OPEN_TO_CLIENT = new Set(['notifications/cancelled', 'notifications/progress']);

/** What the client may be told now. */
export interface Hearing {
  /** Whether log messages of this level may pass. */
  mayLog(level: string): boolean;
  /** Whether it may be told of changes of this resource. */
  mayHear(uri: string): boolean;
  /** Whether this is a task of its own that it may ask about. */
  mayFollow(task: string): boolean;
  /** Whether it may ask for this list. */
  mayList(listed: Listed): boolean;
  /** Whether its server may ask it so. */
  mayAsk(asks: Asks): boolean;
}

/** The notification as it goes to a legacy client, subscribed to these resources; undefined if it may not. */
export function told(
  message: Notification,
  hearing: Hearing,
  subscribed: Iterable<string>,
): Notification | undefined {
  const listed = changedList(message);
  if (listed !== undefined) return hearing.mayList(listed) ? listChanged(listed) : undefined;
  if (message.method === TASK_STATUS) {
    const status = statusIn(message);
    return status !== undefined && hearing.mayFollow(status.id) ? status.said : undefined;
  }
  if (message.method === UPDATED) {
    const uri = updatedUri(message);
    const may = uri !== undefined && isWithin(uri, subscribed) && hearing.mayHear(uri);
    return may ? { ...message, params: { uri } } : undefined;
  }
  return toldOfRequest(message, hearing);
}

/** The same for a request of the modern era, which gets changes of lists and resources by subscriptions alone. */
export function toldOfRequest(message: Notification, { mayLog, mayAsk }: Hearing): Notification | undefined {
  if (message.method === ELICITED) return mayAsk('elicitation-url') ? message : undefined;
  if (message.method !== LOG) return OPEN_TO_CLIENT.has(message.method) ? message : undefined;
  const level = levelIn(message);
  return level !== undefined && mayLog(level) ? message : undefined;
}

/** The same on the stream of a modern subscription that the server has agreed to. */
export function toldOnStream(
  id: Id,
  message: Notification,
  agreed: Filter,
  hearing: Hearing,
): Notification | undefined {
  const listed = changedList(message);
  if (listed !== undefined)
    return agreed.lists.includes(listed) && hearing.mayList(listed) ? tagged(id, message.method) : undefined;
  const uri = message.method === UPDATED ? updatedUri(message) : undefined;
  if (uri === undefined || !isWithin(uri, agreed.uris) || !hearing.mayHear(uri)) return undefined;
  return tagged(id, UPDATED, { uri });
}

/**
 * Whether the resource was named, or is a part of one that was (schema, "ResourceUpdatedNotification"): its URI goes on
 * where that of the whole ends, with another segment, a query or a fragment.
 */
function isWithin(uri: string, named: Iterable<string>): boolean {
  for (const whole of named) {
    if (uri === whole) return true;
    if (uri.startsWith(whole) && (ENDS.test(whole) || ENDS.test(uri.charAt(whole.length)))) return true;
  }
  return false;
}

/** Ends a part of a URI (RFC 3986 section 3). */
const ENDS = /[/:?#]$/;
