/** One vitest for all mutants: a file that changed is read again, everything else is warm. */
import { join } from 'node:path';
import { createVitest, type TestModule, type TestSpecification, type Vitest } from 'vitest/node';

export interface Tests {
  readonly files: readonly string[];
  /** Has the file read again, as its text is another now. */
  changed(file: string): void;
  /** Runs these files to their first failure. */
  pass(files: readonly string[]): Promise<boolean>;
  /** A line for each test or file that failed, of all runs. */
  failures(): readonly string[];
  /** Of what ran: the slowest test, and all hooks of the file in which they took longest. */
  slowest(): Slowness;
  close(): Promise<void>;
}

/** Milliseconds: what takes longer hangs. */
export interface Slowness {
  /** Of one test. */
  readonly test: number;
  /** Of one hook. */
  readonly hook: number;
}

export async function startTests(root: string, limit: Slowness): Promise<Tests> {
  const vitest = await createVitest('test', {
    root,
    watch: false,
    bail: 1,
    // What a mutant prints or breaks is its own affair.
    reporters: [{}],
    silent: true,
    testTimeout: limit.test,
    hookTimeout: limit.hook,
  });
  await vitest.standalone();
  const specifications = await vitest.globTestSpecifications();
  const byPath = new Map(specifications.map((each) => [each.moduleId.slice(root.length + 1), each]));
  return {
    files: [...byPath.keys()],
    changed: (file) => vitest.invalidateFile(join(root, file)),
    pass: (files) => passed(vitest, new Set(files.flatMap((file) => byPath.get(file) ?? []))),
    failures: () => vitest.state.getTestModules().flatMap((each) => failuresOf(each)),
    slowest: () => slowestOf(vitest.state.getTestModules()),
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

function failuresOf(module: TestModule): readonly string[] {
  const tests = [...module.children.allTests('failed')].map((each) => ({
    name: each.fullName,
    errors: each.result().errors ?? [],
  }));
  const all = [{ name: '', errors: module.errors() }, ...tests];
  return all.flatMap(({ name, errors }) =>
    errors.map(({ message }) => `${module.relativeModuleId} ${name}: ${message.split('\n')[0]}`),
  );
}

function slowestOf(modules: readonly TestModule[]): Slowness {
  const all = modules.map((module) => {
    const tests = [...module.children.allTests()].map((each) => each.diagnostic()?.duration ?? 0);
    const together = tests.reduce((sum, each) => sum + each, 0);
    return { test: Math.max(0, ...tests), hook: module.diagnostic().duration - together };
  });
  return {
    test: Math.max(0, ...all.map(({ test }) => test)),
    hook: Math.max(0, ...all.map(({ hook }) => hook)),
  };
}
