/**
 * Conditions in CEL over names that an operator may use. They are pure, and their regular expressions take linear time.
 * An error, or a result that is not a boolean, counts as no.
 */
import { createRequire } from 'node:module';
import type { CelInput } from '@bufbuild/cel';
import { refusalOf } from '../../ground/errors.ts';

export interface Condition {
  readonly source: string;
  /** True or false, or a sentence that says why it is neither. */
  holds(variables: Readonly<Record<string, CelInput>>): boolean | string;
}

/** Throws resource if the text is not CEL. */
export function compileCondition(source: string): Condition {
  const { isCelError } = engine();
  const evaluate = planOf(source);
  return {
    source,
    holds: (variables) => {
      const answer = evaluate(variables);
      if (isCelError(answer)) return `fails: ${answer.message}`;
      return typeof answer === 'boolean' ? answer : 'is not a boolean';
    },
  };
}

type Cel = typeof import('@bufbuild/cel');

/** Loaded at the first condition: most agents are never sent one. */
function engine(): Cel {
  return createRequire(import.meta.url)('@bufbuild/cel') as Cel;
}

let env: ReturnType<Cel['celEnv']> | undefined;

function planOf(source: string) {
  const { celEnv, parse, plan } = engine();
  env ??= celEnv();
  try {
    return plan(env, parse(source));
  } catch (error) {
    const says = error instanceof Error ? error.message : String(error);
    throw refusalOf(error, 'resource', `when is not a CEL expression: ${says}${hintFor(says)}`);
  }
}

/** CEL reserves words such as `namespace`, except behind a dot. */
const hintFor = (says: string): string =>
  says.includes('reserved identifier')
    ? '; write it with its platform, for instance kubernetes.namespace'
    : '';
