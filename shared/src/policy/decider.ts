/** Decides about many things that one caller may use, by one policy and at one time. */
import { ensure } from '../ground/errors.ts';
import type { Call, What } from './call.ts';
import { Answers } from './condition/answers.ts';
import { decide, mayCall, mayExpand } from './decide.ts';
import type { Decision } from './decision.ts';
import type { Policy } from './policy.ts';

/** About a quarter of a second. */
export const MAX_EVALUATIONS = 25_000;

/** For one turn of the event loop: it sees no later policy and no later time. */
export interface Decider {
  /** As `decide`. */
  decide(what: What): Decision;
  /** As `mayCall`. */
  mayCall(what: What): 'yes' | 'maybe' | 'no';
  /** As `mayExpand`, of the text of a template of resources. */
  mayExpand(template: string): boolean;
  /** How many times a condition was evaluated. */
  readonly evaluated: number;
}

/** A condition is evaluated once, or once for each tool if it reads `tool`. Arguments are not known. */
export function deciderOf(policy: Policy, where: Omit<Call, 'what' | 'arguments'>): Decider {
  const answers = new Answers();
  return {
    decide: (what) => decide(policy, { ...where, what }, answers),
    mayCall: (what) => mayCall(policy, { ...where, what }, answers),
    mayExpand: (name) => mayExpand(policy, { ...where, what: { kind: 'resource', name } }, answers),
    get evaluated() {
      return answers.evaluated;
    },
  };
}

/** Names of tools times conditions that read them: all in one turn of the event loop. Throws mcp_parse. */
export function ensureFew({ evaluated }: Decider, what: string): void {
  const says = `${what} needs more than ${MAX_EVALUATIONS} evaluations of conditions, which read tool`;
  ensure(evaluated <= MAX_EVALUATIONS, 'mcp_parse', says);
}
