/** CEL over attested attributes. Linear-time regular expressions; an error or a non-boolean is a no. */
import { celEnv, isCelError, parse, plan } from '@bufbuild/cel';
import { refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Scope } from './facts.ts';

export interface Condition {
  readonly source: string;
  /** True or false, or a sentence that says why it is neither. */
  holds(scope: Scope): boolean | string;
}

const env = celEnv();

/** Throws resource where the text is not CEL. */
export function compileCondition(source: string): Condition {
  const evaluate = planOf(source);
  return {
    source,
    holds: ({ variables }) => {
      const answer = evaluate(variables);
      if (isCelError(answer)) return `fails: ${answer.message}`;
      return typeof answer === 'boolean' ? answer : 'is not a boolean';
    },
  };
}

function planOf(source: string) {
  try {
    return plan(env, parse(source));
  } catch (error) {
    const says = error instanceof Error ? error.message : String(error);
    throw refusalOf(error, 'resource', `when is not a CEL expression: ${says}${hintFor(says)}`);
  }
}

/** CEL keeps words such as `namespace` for itself, but not behind a dot. */
const hintFor = (says: string): string =>
  says.includes('reserved identifier')
    ? '; write it with its platform, for instance kubernetes.namespace'
    : '';
