/** Explains which identities facts earn and how calls are decided, by the same functions that decide. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type JsonObject, parseJson } from '@chancery/shared/ground/json.ts';
import { type Call, toolNamed } from '@chancery/shared/policy/call.ts';
import { conditionsOn, decide } from '@chancery/shared/policy/decide.ts';
import { compilePolicy, type Policy } from '@chancery/shared/policy/policy.ts';
import { standing } from '@chancery/shared/policy/resources/until.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { matchFacts } from './earn.ts';
import type { Facts } from './identity/facts.ts';
import type { Earned } from './identity/identity.ts';
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
    lines: [...given, ...saidBy(earned[0]), ...why.map((each) => `no: ${each}`)],
  };
}

/** What the certificate says besides, for the conditions of rules. */
function saidBy(earned: Earned | undefined): readonly string[] {
  const said = [...(earned?.attributes ?? [])].map(
    ([name, value]) => `caller.attributes.${name} is ${value}`,
  );
  return said.length === 0 ? [] : [`its certificate says: ${said.join(', ')}`];
}

/** The decision that a gateway would make by this set of resources. */
export function explainCall({ resources, policy }: ResourceSet, asked: Call, now: Date): Explanation {
  const inForce = policyAt(resources, policy, now);
  const call = { ...asked, now };
  const { allow, rule = '', reason } = decide(inForce, call);
  return { spiffeIds: [], allow, rule, lines: [reason, ...conditionsOn(inForce, call)] };
}

/** A call as an operator describes it, its arguments in JSON. Throws spiffe_id, resource. */
export const callOf = ({ caller, server, tool, arguments: given }: DescribedCall): Call => ({
  caller: parseSpiffeId(caller),
  server,
  what: toolNamed(tool),
  arguments: readArguments(given),
});

interface DescribedCall {
  readonly caller: string;
  readonly server: string;
  readonly tool: string;
  /** Empty if they are not known. */
  readonly arguments: string;
}

/** Read as a gateway reads them. */
function readArguments(text: string): JsonObject | undefined {
  if (text === '') return undefined;
  const limits = { code: 'resource', maxBytes: MAX_ARGUMENTS_BYTES, maxDepth: 64, spelledFrom: 0 } as const;
  const read = parseJson(Buffer.from(text), { ...limits, oddStrings: 'values' });
  ensure(isJsonObject(read), 'resource', 'the arguments of a call are a JSON object');
  return read;
}

/** Conditions see less. */
const MAX_ARGUMENTS_BYTES = 256 * 1024;

/** Compiled again only where something has ended. */
function policyAt(resources: readonly Resource[], policy: Policy, now: Date): Policy {
  const kept = standing(resources, now);
  if (kept.length === resources.length && kept.every((each, at) => each === resources[at])) return policy;
  return compilePolicy(
    kept.filter((each) => each.kind !== 'Identity'),
    policy.version,
  );
}
