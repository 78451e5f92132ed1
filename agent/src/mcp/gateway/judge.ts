/** Decides which messages pass, and by which rule. Denies every method that no kind of rule covers yet. */
import type { Era } from '@chancery/shared/mcp/era.ts';
import type { Message, Notification, Request } from '@chancery/shared/mcp/message.ts';
import type { FreeText } from '@chancery/shared/mcp/results.ts';
import { LISTEN, listensToTools, onSubscription } from '@chancery/shared/mcp/subscription.ts';
import { type ToolUse, toolUseOf } from '@chancery/shared/mcp/tools.ts';
import { type Call, toolNamed } from '@chancery/shared/policy/call.ts';
import { decide, mayCall } from '@chancery/shared/policy/decide.ts';
import { type Allowed, closed, type Decision, type Denied } from '@chancery/shared/policy/decision.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

const CALL = 'tools/call';
/**
 * Every caller that may reach the server may send these: no tool can be called without them. Their answers are
 * filtered.
 */
const OPEN_REQUESTS = new Set(['initialize', 'ping', 'server/discover', 'tools/list']);
/** Legacy only: in the modern era each request says its log level (2026-07-28, "Logging"). */
const SET_LEVEL = 'logging/setLevel';
/** Notifications about the caller's own requests. */
const OPEN_NOTIFICATIONS = new Set([
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
]);
/** Notifications that a server may send unasked. Others, such as `resources/updated`, are about what no rule allows. */
const OPEN_TO_CLIENT = new Set([
  'notifications/cancelled',
  'notifications/progress',
  'notifications/message',
  'notifications/tools/list_changed',
]);

export interface Verdict {
  readonly decision: Decision;
  readonly use: ToolUse | undefined;
}

export interface Situation {
  readonly caller: SpiffeId;
  readonly server: string;
  readonly era: Era;
  readonly freeText: FreeText;
  readonly now: Date;
  readonly session: string | undefined;
}

/**
 * `entered` is the decision that lets the caller reach the server. Throws mcp_parse for a call whose tool cannot be
 * read.
 */
export function judge(
  policy: Policy,
  { era, freeText, ...where }: Situation,
  entered: Allowed,
  message: Message,
): Verdict {
  // A posted response was matched with the server's request before.
  if (message.kind === 'response') return { decision: entered, use: undefined };
  if (message.kind === 'request' && message.method === CALL) {
    const use = toolUseOf(message);
    return {
      decision: decide(policy, { ...where, what: toolNamed(use.tool), arguments: use.arguments }),
      use,
    };
  }
  const { kind, method } = message;
  const listens = kind === 'request' && era === 'modern' && method === LISTEN && listensToTools(message);
  const open = listens || (kind === 'request' ? OPEN_REQUESTS : OPEN_NOTIFICATIONS).has(method);
  const sets = kind === 'request' && era === 'legacy' && method === SET_LEVEL && freeText.logs;
  return { decision: open || sets ? entered : noRule(method), use: undefined };
}

/** Why an open call, which was allowed, is denied now. Its arguments are not kept: a condition on them stays met. */
export function deniedMeanwhile(policy: Policy, call: Call): Denied | undefined {
  const decision = decide(policy, call);
  const asks = !decision.allow && decision.ask === true;
  if (!asks && mayCall(policy, call) !== 'no') return undefined;
  const now = closed(decision);
  return now.allow ? undefined : now;
}

/** True for notifications that a server may send to the client unasked. */
function mayTell(method: string, { logs }: FreeText): boolean {
  return OPEN_TO_CLIENT.has(method) && (logs || method !== 'notifications/message');
}

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

function noRule(method: string): Denied {
  return { allow: false, rule: undefined, reason: `no kind of rule can allow ${method}` };
}
