/** One vitest for all mutants: a file that changed is read again, everything else is warm. */
import { join } from 'node:path';
import { createVitest, type Vitest } from 'vitest/node';

export interface Tests {
  readonly files: readonly string[];
  /** Runs these files to their first failure; `changed` are files whose text is another than last time. */
  pass(files: readonly string[], changed: readonly string[]): Promise<boolean>;
  close(): Promise<void>;
}

/** A mutant that hangs is caught too. */
const TIMEOUT_MS = 15_000;

export async function startTests(root: string): Promise<Tests> {
  const vitest = await createVitest('test', {
    root,
    watch: false,
    bail: 1,
    // What a mutant prints or breaks is its own affair.
    reporters: [{}],
    silent: true,
    dangerouslyIgnoreUnhandledErrors: false,
    testTimeout: TIMEOUT_MS,
    hookTimeout: TIMEOUT_MS,
  });
  await vitest.standalone();
  const specifications = await vitest.globTestSpecifications();
  const byPath = new Map(specifications.map((each) => [each.moduleId.slice(root.length + 1), each]));
  return {
    files: [...byPath.keys()],
    pass: async (files, changed) => {
      for (const file of changed) vitest.invalidateFile(join(root, file));
      return passed(
        vitest,
        files.flatMap((file) => byPath.get(file) ?? []),
      );
    },
    close: () => vitest.close(),
  };
}

async function passed(
  vitest: Vitest,
  specifications: Parameters<Vitest['runTestSpecifications']>[0],
): Promise<boolean> {
  const { testModules, unhandledErrors } = await vitest.runTestSpecifications(specifications);
  if (testModules.some((each) => each.state() === 'failed')) return false;
  // A test process that could not even start has nothing to say about a mutant.
  if (testModules.some((each) => each.state() !== 'passed' && each.state() !== 'skipped'))
    throw new Error('the tests did not run', { cause: unhandledErrors[0] });
  return unhandledErrors.length === 0;
}
