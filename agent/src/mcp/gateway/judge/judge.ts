/** Decides which messages of a client pass, and by which rule. Denies every method that no kind of rule covers yet. */
import { narrowClient } from '@chancery/shared/mcp/asking/asks.ts';
import { withLevel } from '@chancery/shared/mcp/logging.ts';
import type { Message } from '@chancery/shared/mcp/message.ts';
import { type Filter, withFilter } from '@chancery/shared/mcp/subscription.ts';
import type { Call, What } from '@chancery/shared/policy/call.ts';
import { decide, decideList } from '@chancery/shared/policy/decide.ts';
import { type Decider, deciderOf } from '@chancery/shared/policy/decider.ts';
import { type Allowed, closed, type Decision, type Denied } from '@chancery/shared/policy/decision.ts';
import { levelsFrom } from '@chancery/shared/policy/patterns/level.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { mayBeAsked } from './asks.ts';
import { OPEN_NOTIFICATIONS } from './open.ts';
import type { Terms, Use } from './reader.ts';
import { READERS } from './readers.ts';
import { boundOn, decideListen, type Held, isGivenUp } from './subscriptions.ts';
import { decideNewTask, decideTask, type OwnTasks } from './tasks.ts';

export interface Verdict {
  readonly decision: Decision;
  readonly use: Use | undefined;
  /** What goes to the server if the message passes. */
  readonly forwarded: Message;
  /** What a modern subscription is granted. */
  readonly listens?: Filter;
  readonly subscribes?: 'begin' | 'end' | undefined;
  /** Whether the call is to be made as a task. */
  readonly makesTask?: boolean | undefined;
  /** The id of the task that it asks about. */
  readonly ofTask?: string | undefined;
}

export interface Situation extends Terms, Omit<Call, 'what' | 'arguments'> {
  readonly held: Held;
  readonly tasks: OwnTasks;
}

/** `entered` is the decision that lets the caller reach the server. Throws mcp_parse for a use that cannot be read. */
export function judge(
  policy: Policy,
  { era, freeText, held, tasks, ...where }: Situation,
  entered: Allowed,
  message: Message,
): Verdict {
  const enters = { decision: entered, use: undefined, forwarded: message };
  // A posted response was matched with the server's request before.
  if (message.kind === 'response') return enters;
  const { method } = message;
  const denied = { ...enters, decision: noRule(method) };
  if (message.kind === 'notification') return OPEN_NOTIFICATIONS.has(method) ? enters : denied;
  const reading = READERS.get(method)?.(message, { era, freeText });
  if (reading === undefined) return denied;
  const { use, lists, listens: asked, subscribes, makesTask, ofTask } = reading;
  const mayLog = (level: string): boolean =>
    freeText.logs && decide(policy, { ...where, what: { kind: 'logging', name: level } }).allow;
  const levelled = withLevel(reading.forwarded, (level) => levelsFrom(level).find(mayLog));
  const forwarded = narrowClient(levelled, (asks) => mayBeAsked(policy, where, { asks, during: use }));
  if (lists !== undefined) return { use, forwarded, decision: decideList(policy, where, lists) };
  if (asked !== undefined) {
    const { decision, granted } = decideListen(policy, where, { asked, entered, left: held.left });
    return { use, listens: granted, decision, forwarded: withFilter(forwarded, granted) };
  }
  if (ofTask !== undefined) return { ofTask, forwarded, ...decideTask(policy, where, ofTask, tasks) };
  if (use === undefined) return { ...enters, forwarded };
  const { arguments: given, ...what } = use;
  if (subscribes !== undefined && isGivenUp(subscribes, what.name, held))
    return { use, subscribes, forwarded, decision: entered };
  const decision = decide(policy, { ...where, what, arguments: given });
  if (makesTask === true && decision.allow) {
    const made = decideNewTask(policy, where, what.name, tasks);
    return { use, makesTask, forwarded, decision: made.allow ? decision : made };
  }
  const bound = subscribes && decision.allow ? boundOn(subscribes, what.name, where, held) : undefined;
  return { use, subscribes, forwarded, decision: bound ?? decision };
}

/**
 * Why an open call, which was allowed, is denied now. Its arguments are not kept: what a condition on them decides
 * stays as it was.
 */
export const deniedMeanwhile = (
  policy: Policy,
  { what, ...where }: Omit<Call, 'arguments'>,
): Denied | undefined => deniedBy(deciderOf(policy, where), what);

/** The same for one of several calls. */
export function deniedBy(decider: Decider, what: What): Denied | undefined {
  const decision = decider.decide(what);
  const asks = !decision.allow && decision.ask === true;
  if (!asks && decider.mayCall(what) !== 'no') return undefined;
  const now = closed(decision);
  return now.allow ? undefined : now;
}

function noRule(method: string): Denied {
  return { allow: false, rule: undefined, reason: `no kind of rule can allow ${method}` };
}
