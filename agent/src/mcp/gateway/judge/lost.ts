/** What a new policy takes of a subscription that an earlier one granted. */
import type { Filter } from '@chancery/shared/mcp/subscription.ts';
import { type Call, subscriptionTo } from '@chancery/shared/policy/call.ts';
import { decideList } from '@chancery/shared/policy/decide.ts';
import { deciderOf } from '@chancery/shared/policy/decider.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { deniedBy } from './judge.ts';

/** The first part of what was granted that the caller may not hear of now, in words; undefined if there is none. */
export function lostOf(
  policy: Policy,
  where: Omit<Call, 'what' | 'arguments'>,
  { lists, uris }: Filter,
): string | undefined {
  const list = lists.find((listed) => listed !== 'tool' && !decideList(policy, where, listed).allow);
  if (list !== undefined) return `the list of ${list}s`;
  const decider = deciderOf(policy, where);
  return uris.find((uri) => deniedBy(decider, subscriptionTo(uri)) !== undefined);
}
