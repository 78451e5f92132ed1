/** Which tokens of an issuer are accepted: each claim with a rule must have one of the operator's values. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Json } from '@chancery/shared/ground/json.ts';
import type { Claims } from '../../tokens/claims.ts';
import { matchesSegments } from '../segments.ts';

/** By claim: literals, or patterns in which `*` is any run of characters but "/" and ":". */
export type ClaimRules = Readonly<Record<string, readonly string[]>>;

export interface Rule {
  readonly claim: string;
  readonly literal: boolean;
  /** Throws claim_rule. */
  check(claims: Claims): void;
}

/** One rule for each claim; `check` throws claim_rule. A claim that is missing matches no pattern. */
export function compileRules(rules: ClaimRules): readonly Rule[] {
  return Object.entries(rules).map(([claim, patterns]) => {
    return {
      claim,
      literal: patterns.every((pattern) => !pattern.includes('*')),
      check: (claims) => {
        const value = textOf(claims.find(claim));
        const held = value !== undefined && patterns.some((pattern) => matchesSegments(pattern, value));
        const found = value === undefined ? 'missing' : `"${value.slice(0, 200)}"`;
        ensure(held, 'claim_rule', `${claim} is ${found}, expected ${patterns.join(' or ')}`);
      },
    };
  });
}

/** A scalar as text: some issuers write numbers and booleans as strings. */
export function textOf(value: Json | undefined): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'boolean' || Number.isSafeInteger(value) ? String(value) : undefined;
}
