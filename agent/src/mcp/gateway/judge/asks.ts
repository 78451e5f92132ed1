/** Decides what a server may ask of its client, and what of its client's answers reaches the server. */
import type { Asks } from '@chancery/shared/mcp/asking/asks.ts';
import type { Call, What } from '@chancery/shared/policy/call.ts';
import { decideList, mayCall } from '@chancery/shared/policy/decide.ts';
import { deciderOf } from '@chancery/shared/policy/decider.ts';
import { type Allowed, closed, type Denied } from '@chancery/shared/policy/decision.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';

type Where = Omit<Call, 'what' | 'arguments'>;

/** The uses of a server that it can ask its client something for. That of a task is the use of its tool. */
const ASKING = new Set(['tool', 'prompt', 'resource', 'task']);
/** Whether a server may ask something for this use. */
export const mayAskFor = (what: What | undefined): what is What =>
  what !== undefined && ASKING.has(what.kind);

/**
 * Decides a question. It may belong to any of `during`, so each must allow it; roots are about no use. A condition is
 * asked about the caller, the session and the time: it has no arguments.
 */
export function decideAsking(
  policy: Policy,
  where: Where,
  { asks: kind, during }: { readonly asks: Asks; readonly during: readonly What[] },
): Allowed | Denied {
  const names = kind === 'roots' || during.length === 0 ? [''] : during.map(({ name }) => name);
  const decider = deciderOf(policy, where);
  const decisions = names.map((name) => closed(decider.decide({ kind, name })));
  const [first] = decisions;
  const denied = decisions.find(({ allow }) => !allow);
  return denied ?? first ?? { allow: false, rule: undefined, reason: 'nothing was asked' };
}

/**
 * Whether a server learns that its client can answer questions of a kind: where a rule may allow one, during this use,
 * or any if the request has none.
 */
export function mayBeAsked(
  policy: Policy,
  where: Where,
  { asks: kind, during }: { readonly asks: Asks; readonly during: What | undefined },
): boolean {
  if (!mayAskFor(during)) return decideList(policy, where, kind).allow;
  const name = kind === 'roots' ? '' : during.name;
  return mayCall(policy, { ...where, what: { kind, name } }) !== 'no';
}
