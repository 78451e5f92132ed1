/** One vitest for all mutants: a file that changed is read again, everything else is warm. */
import { join } from 'node:path';
import { createVitest, type TestSpecification, type Vitest } from 'vitest/node';

export interface Tests {
  readonly files: readonly string[];
  /** Has the file read again, as its text is another now. */
  changed(file: string): void;
  /** Runs these files to their first failure. */
  pass(files: readonly string[]): Promise<boolean>;
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
    testTimeout: TIMEOUT_MS,
    hookTimeout: TIMEOUT_MS,
  });
  await vitest.standalone();
  const specifications = await vitest.globTestSpecifications();
  const byPath = new Map(specifications.map((each) => [each.moduleId.slice(root.length + 1), each]));
  return {
    files: [...byPath.keys()],
    changed: (file) => vitest.invalidateFile(join(root, file)),
    pass: (files) => passed(vitest, new Set(files.flatMap((file) => byPath.get(file) ?? []))),
    close: () => vitest.close(),
  };
}

async function passed(vitest: Vitest, wanted: ReadonlySet<TestSpecification>): Promise<boolean> {
  const ids = new Set([...wanted].map(({ moduleId }) => moduleId));
  const { testModules, unhandledErrors } = await vitest.runTestSpecifications([...wanted]);
  // It also tells what it knows of others, from runs before.
  const states = testModules.filter(({ moduleId }) => ids.has(moduleId)).map((each) => each.state());
  if (states.includes('failed')) return false;
  // A test process that could not even start has nothing to say about a mutant.
  if (states.length < ids.size || states.some((state) => state !== 'passed' && state !== 'skipped'))
    throw new Error('the tests did not run', { cause: unhandledErrors[0] });
  return unhandledErrors.length === 0;
}
