/**
 * A server that observes: its gateway decides and records as ever, but lets pass what rules deny, until an
 * instant. Only what a rule could allow is lifted: never who may reach the server, a name that no rule can allow, or an
 * approval.
 */
import type { Call } from './call.ts';
import type { Allowed, Decision } from './decision.ts';
import type { Policy } from './policy.ts';
import { type Ending, observesAt } from './resources/until.ts';

type At = Pick<Call, 'server' | 'scope' | 'now'>;

/**
 * Whether the server observes at the time of the call. It does not where that is not known, nor for a certificate with
 * a scope, which is to be held to it.
 */
export const isObserved = (policy: Policy, { server, scope, now }: At): boolean =>
  scope === undefined && now !== undefined && observesAt(policy.servers.get(server) ?? {}, now);

/** The decision as it is carried out. The caller may reach the server, and no rule asks for an approval. */
export function lifted<T extends Decision>(policy: Policy, at: At, decision: T): T | Allowed {
  if (decision.allow || decision.ask === true || !isObserved(policy, at)) return decision;
  const { rule, reason } = decision;
  const { observe }: Ending = policy.servers.get(at.server) ?? {};
  return {
    allow: true,
    observed: true,
    rule,
    reason: `McpServer/${at.server} observes until ${observe?.until}: ${reason}`,
  };
}
