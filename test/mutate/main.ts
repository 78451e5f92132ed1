/**
 * Takes every check away, one at a time, and asks the tests whether they notice: `npm run mutate -- PATH...`. Works on
 * a copy of the checkout. Prints a line a mutant; exits 1 where one survives, 2 where the tests fail without any.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../kit/processes.ts';
import { type Copy, copyOf } from './copy.ts';
import { type Mutant, mutantsOf } from './mutants.ts';
import { testsBySource } from './related.ts';
import { startTests, type Tests } from './run.ts';

const ROOMS = [
  'ca/src/agents',
  'ca/src/attestors',
  'ca/src/authority',
  'ca/src/door',
  'ca/src/operator',
  'ca/src/rotation',
  'ca/src/rpc',
  'ca/src/store',
  'shared/src/door',
  'shared/src/rpc',
  'shared/src/x509',
  'shared/src/tpm',
  'shared/src/policy',
  'shared/src/mcp',
  'agent/src/mcp',
  'agent/src/trust',
];

interface Work {
  readonly copy: Copy;
  readonly tests: Tests;
  /** In goes, those most likely to fail first. */
  readonly testsOf: (file: string) => readonly (readonly string[])[];
}

async function main(paths: readonly string[]): Promise<number> {
  const copy = copyOf(root);
  // Tests that a mutant cuts short leave their folders behind; they go with the copy.
  process.env['TMPDIR'] = join(copy.root, 'tmp');
  mkdirSync(join(copy.root, 'tmp'));
  const tests = await startTests(copy.root);
  try {
    const testsOf = testsBySource(textsOf(copy, tests.files));
    return await mutate(paths.length === 0 ? ROOMS : paths, { copy, tests, testsOf });
  } finally {
    await tests.close();
    copy.remove();
  }
}

/** Without tests that only another command runs. */
function textsOf({ root: at, files }: Copy, tests: readonly string[]): ReadonlyMap<string, string> {
  const run = new Set(tests);
  const wanted = files.filter(
    (file) => file.endsWith('.ts') && (run.has(file) || !file.endsWith('.test.ts')),
  );
  return new Map(wanted.map((file) => [file, readFileSync(join(at, file), 'utf8')]));
}

async function mutate(paths: readonly string[], work: Work): Promise<number> {
  const wanted = paths.map((path) => path.replace(/\/$/, ''));
  const sources = work.copy.files.filter(
    (file) =>
      /(?<!\.test|\.d)\.ts$/.test(file) &&
      wanted.some((path) => file === path || file.startsWith(`${path}/`)),
  );
  const all = sources.map((file) => ({
    file,
    mutants: mutantsOf(readFileSync(join(work.copy.root, file), 'utf8')),
  }));
  const count = all.reduce((sum, { mutants }) => sum + mutants.length, 0);
  console.log(`${count} checks in ${sources.length} files`);
  const needed = [...new Set(sources.flatMap((file) => work.testsOf(file).flat()))];
  if (needed.length === 0 || !(await work.tests.pass(needed))) {
    console.error('the tests fail, or there are none, without any mutant: run them first');
    return 2;
  }
  const survivors: string[] = [];
  let number = 0;
  for (const { file, mutants } of all)
    for (const mutant of mutants) {
      number += 1;
      const where = `${file}:${mutant.line}: ${mutant.check}`;
      const killed = await isKilled(file, mutant, work);
      if (!killed) survivors.push(where);
      console.log(`${number}/${count} ${killed ? 'killed' : 'SURVIVED'} ${where}`);
    }
  if (!(await work.tests.pass(needed))) {
    console.error('the tests fail without any mutant now: the result means nothing');
    return 2;
  }
  console.log(`${count - survivors.length} killed, ${survivors.length} survived`);
  for (const survivor of survivors) console.log(`  ${survivor}`);
  return survivors.length === 0 ? 0 : 1;
}

async function isKilled(file: string, { text }: Mutant, { copy, tests, testsOf }: Work): Promise<boolean> {
  const path = join(copy.root, file);
  const genuine = readFileSync(path, 'utf8');
  const write = (now: string): void => {
    writeFileSync(path, now);
    tests.changed(file);
  };
  write(text);
  try {
    for (const files of testsOf(file)) if (!(await tests.pass(files))) return true;
    return false;
  } finally {
    write(genuine);
  }
}

process.exitCode = await main(process.argv.slice(2));
