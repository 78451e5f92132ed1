/** Counts what conditions of rules cost, for all that ask them in this process. */
import { compileWhen } from '@chancery/shared/policy/condition/when.ts';
import { vi } from 'vitest';

/** How many times these conditions were evaluated since. Until `vi.restoreAllMocks`. */
export function countEvaluations(texts: readonly string[]): () => number {
  const spies = texts.map((text) => vi.spyOn(compileWhen(text), 'answer'));
  return () => spies.reduce((sum, { mock }) => sum + mock.calls.length, 0);
}
