/** Explains which identities facts earn and how calls are decided, by the same functions that decide. */
import type { Call } from '@chancery/shared/policy/call.ts';
import { decide } from '@chancery/shared/policy/decide.ts';
import { compilePolicy, type Policy } from '@chancery/shared/policy/policy.ts';
import { hasEnded } from '@chancery/shared/policy/resources/until.ts';
import { matchFacts } from './earn.ts';
import type { Facts } from './identity/facts.ts';
import type { Resource, ResourceSet } from './resources.ts';

export interface Explanation {
  readonly allow: boolean;
  /** The identity or the access rule that decides; empty if there is none. */
  readonly rule: string;
  /** The SPIFFE IDs that the facts earn, the default first. */
  readonly spiffeIds: readonly string[];
  /** For a person. */
  readonly lines: readonly string[];
}

/** More would hide the nearest. */
const MAX_MISSES = 10;

/** Every line is a sentence for the operator; at most ten near misses. */
export function explainFacts(set: ResourceSet, facts: Facts, now: Date): Explanation {
  const { earned, misses } = matchFacts(set, facts, now);
  const why = misses.slice(0, MAX_MISSES);
  if (earned.length === 0) {
    const [nearest = 'the registry has no Identity at all', ...others] = why;
    const lines = [`no identity; the nearest: ${nearest}`, ...others.map((each) => `no: ${each}`)];
    return { allow: false, rule: '', spiffeIds: [], lines };
  }
  const given = earned.map(
    ({ identity, id }, index) => `${identity} gives ${id}${index === 0 ? ' (the default)' : ''}`,
  );
  return {
    allow: true,
    rule: earned[0]?.identity ?? '',
    spiffeIds: earned.map(({ id }) => id),
    lines: [...given, ...why.map((each) => `no: ${each}`)],
  };
}

/** The decision that a gateway would make by this set of resources. */
export function explainCall({ resources, policy }: ResourceSet, call: Call, now: Date): Explanation {
  const { allow, rule = '', reason } = decide(policyAt(resources, policy, now), call);
  return { spiffeIds: [], allow, rule, lines: [reason] };
}

/** Compiled again only where something has ended. */
function policyAt(resources: readonly Resource[], policy: Policy, now: Date): Policy {
  const standing = resources.filter((each) => !hasEnded(each, now));
  if (standing.length === resources.length) return policy;
  return compilePolicy(
    standing.filter((each) => each.kind !== 'Identity'),
    policy.version,
  );
}
