/**
 * Tasks, of the legacy era. A caller makes one where rules allow both the call of the tool and tasks of it. What it
 * asks of a task later is decided by the tool that made it, without the arguments of then.
 */
import { taskIdOf } from '@chancery/shared/mcp/tasks.ts';
import { type Call, taskBy } from '@chancery/shared/policy/call.ts';
import { decide } from '@chancery/shared/policy/decide.ts';
import type { Decision, Denied } from '@chancery/shared/policy/decision.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { Reader, Use } from './reader.ts';

/** The tasks of one caller. */
export interface OwnTasks {
  /** The tool that made the task; undefined if the caller has no task of this id. */
  toolOf(id: string): string | undefined;
  /** Whether the caller may make no more. */
  readonly isFull: boolean;
}

/** About one task. */
export const readTask: Reader = (request, { era }) =>
  era === 'legacy' ? { use: undefined, ofTask: taskIdOf(request), forwarded: request } : undefined;

/** Its answer is filtered. */
export const readTasks: Reader = (request, { era }) =>
  era === 'legacy' ? { use: undefined, lists: 'task', forwarded: request } : undefined;

type Where = Omit<Call, 'what' | 'arguments'>;

/** Whether a caller whose call of the tool is allowed may make a task of it. */
export function decideNewTask(policy: Policy, where: Where, tool: string, own: OwnTasks): Decision {
  const decision = decide(policy, { ...where, what: taskBy(tool) });
  if (!decision.allow || !own.isFull) return decision;
  const { caller, server } = where;
  return denied(`${caller} may not have more tasks at server ${server}: wait until some are forgotten`);
}

/** Another caller's task is one that does not exist. */
export function decideTask(
  policy: Policy,
  where: Where,
  id: string,
  own: OwnTasks,
): { readonly decision: Decision; readonly use: Use | undefined } {
  const tool = own.toolOf(id);
  const { caller, server } = where;
  if (tool === undefined)
    return { use: undefined, decision: denied(`${caller} has no such task at server ${server}`) };
  const what = taskBy(tool);
  return { use: { ...what, arguments: {} }, decision: decide(policy, { ...where, what }) };
}

const denied = (reason: string): Denied => ({ allow: false, rule: undefined, reason });
