/** Which messages pass, by whose rule. What no kind of rule speaks of yet is denied, whoever asks. */
import type { Message } from '@chancery/shared/mcp/message.ts';
import { type ToolUse, toolUseOf } from '@chancery/shared/mcp/tools.ts';
import { decide } from '@chancery/shared/policy/decide.ts';
import type { Decision, Policy } from '@chancery/shared/policy/policy.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

/** Needed to reach any tool at all; whoever may enter may ask these. The answers are filtered. */
const OPEN_REQUESTS = new Set(['initialize', 'ping', 'server/discover', 'tools/list']);
/** These tell the server about requests of the caller's own. */
const OPEN_NOTIFICATIONS = new Set([
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
]);
/** What a server may tell a client unasked; `resources/updated` and the like speak of what no rule allows. */
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

/** `entered` is the decision of tier 1, which allows. Throws mcp_parse for a call whose tool cannot be read. */
export function judge(
  policy: Policy,
  { caller, server }: { caller: SpiffeId; server: string },
  entered: Decision,
  message: Message,
): Verdict {
  // A posted response was matched with the server's own request before it came here.
  if (message.kind === 'response') return { decision: entered, use: undefined };
  if (message.kind === 'request' && message.method === 'tools/call') {
    const use = toolUseOf(message);
    return { decision: decide(policy, { caller, server, tool: use.tool }), use };
  }
  const open = message.kind === 'request' ? OPEN_REQUESTS : OPEN_NOTIFICATIONS;
  return { decision: open.has(message.method) ? entered : noRule(message.method), use: undefined };
}

/** Towards the client: true for what a server may say unasked. */
export function mayTell(method: string): boolean {
  return OPEN_TO_CLIENT.has(method);
}

/** Towards the client: a server may ask whether it is still there, and nothing else until rules say so. */
export function mayAsk(method: string): boolean {
  return method === 'ping';
}

function noRule(method: string): Decision {
  return { allow: false, rule: undefined, reason: `no kind of rule can allow ${method}` };
}
