/**
 * Takes every check away, one at a time, and asks the tests whether they notice: `npm run mutate -- PATH...`. Works on
 * a copy of the checkout. Prints a line a mutant; exits 1 where one survives, 2 where the tests fail without any.
 * `--minutes M` tries as many as it can in that time, besides two runs without a mutant, in an order that `--seed N`
 * chooses.
 */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../kit/processes.ts';
import { seeded } from '../kit/random.ts';
import { type Copy, copyOf } from './copy.ts';
import { type Mutant, mutantsOf } from './mutants.ts';
import { testsBySource } from './related.ts';
import { startTests, type Tests } from './run.ts';

const ROOMS = [
  'ca/src/agents',
  'ca/src/attestors',
  'ca/src/authority',
  'ca/src/door',
  'ca/src/jwt',
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

/** Nothing hangs without a mutant, however busy the machine is. */
const UNHURRIED_MS = 180_000;
/** The machine may become busier than it was without a mutant. */
const TIMES_SLOWER = 3;
/** The shortest time limit of a test. */
const SHORTEST_LIMIT_MS = 15_000;

const limitOf = (slowest: number): number => Math.max(SHORTEST_LIMIT_MS, Math.ceil(TIMES_SLOWER * slowest));

interface Work {
  readonly copy: Copy;
  readonly tests: Tests;
  /** In goes, those most likely to fail first. */
  readonly testsOf: (file: string) => readonly (readonly string[])[];
}

interface Order {
  readonly paths: readonly string[];
  /** After which no other mutant is begun; undefined for all of them, in the order of their files. */
  readonly minutes: number | undefined;
  /** Of the order in which they are tried while the minutes last. */
  readonly seed: number;
}

function orderOf(args: readonly string[]): Order {
  const options = { minutes: { type: 'string' }, seed: { type: 'string' } } as const;
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  const { minutes, seed = '1' } = values;
  return {
    paths: (positionals.length === 0 ? ROOMS : positionals).map((path) => path.replace(/\/$/, '')),
    minutes: minutes === undefined ? undefined : numberOf('--minutes', minutes),
    seed: numberOf('--seed', seed),
  };
}

function numberOf(flag: string, text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  console.error(`${flag}: a whole number is expected, found ${text}`);
  process.exit(2);
}

async function main(order: Order): Promise<number> {
  const copy = copyOf(root);
  // Tests that a mutant cuts short leave their folders behind; they go with the copy.
  process.env['TMPDIR'] = join(copy.root, 'tmp');
  mkdirSync(join(copy.root, 'tmp'));
  // Some tests are another user for a moment, who has to get as far as the file that is closed to that user.
  chmodSync(copy.root, 0o755);
  try {
    return await mutate(order, copy);
  } finally {
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

async function mutate(order: Order, copy: Copy): Promise<number> {
  const sources = copy.files.filter(
    (file) =>
      /(?<!\.test|\.d)\.ts$/.test(file) &&
      order.paths.some((path) => file === path || file.startsWith(`${path}/`)),
  );
  const all = sources.flatMap((file) =>
    mutantsOf(readFileSync(join(copy.root, file), 'utf8')).map((mutant) => ({ file, mutant })),
  );
  console.log(`${all.length} checks in ${sources.length} files`);
  const unhurried = await startTests(copy.root, { test: UNHURRIED_MS, hook: UNHURRIED_MS });
  const testsOf = testsBySource(textsOf(copy, unhurried.files));
  const needed = [...new Set(sources.flatMap((file) => testsOf(file).flat()))];
  try {
    if (needed.length === 0 || !(await unhurried.pass(needed))) {
      console.error('the tests fail, or there are none, without any mutant: run them first');
      for (const failure of unhurried.failures()) console.error(`  ${failure}`);
      return 2;
    }
  } finally {
    await unhurried.close();
  }
  const { test, hook } = unhurried.slowest();
  const limit = { test: limitOf(test), hook: limitOf(hook) };
  console.log(`a test has ${limit.test / 1000} s and a hook ${limit.hook / 1000} s: what hangs is killed`);
  const tests = await startTests(copy.root, limit);
  try {
    const survivors = await survivorsOf(all, order, { copy, tests, testsOf });
    if (await tests.pass(needed)) return survivors === 0 ? 0 : 1;
    console.error('the tests fail without any mutant now: the result means nothing');
    return 2;
  } finally {
    await tests.close();
  }
}

interface Placed {
  readonly file: string;
  readonly mutant: Mutant;
}

/** Resolves with their number. */
async function survivorsOf(all: readonly Placed[], order: Order, work: Work): Promise<number> {
  const { minutes = Number.POSITIVE_INFINITY, seed } = order;
  const chosen = order.minutes === undefined ? all : shuffled(all, seed);
  const until = performance.now() + minutes * 60_000;
  const survivors: string[] = [];
  let tried = 0;
  for (const { file, mutant } of chosen) {
    if (performance.now() > until) break;
    tried += 1;
    const where = `${file}:${mutant.line}: ${mutant.check}`;
    const killed = await isKilled(file, mutant, work);
    if (!killed) survivors.push(where);
    console.log(`${tried}/${all.length} ${killed ? 'killed' : 'SURVIVED'} ${where}`);
  }
  const left =
    tried === all.length ? '' : `; ${all.length - tried} not tried (seed ${seed}, ${minutes} minutes)`;
  console.log(`${tried - survivors.length} killed, ${survivors.length} survived${left}`);
  for (const survivor of survivors) console.log(`  ${survivor}`);
  return survivors.length;
}

/** Fisher and Yates. */
function shuffled<T>(items: readonly T[], seed: number): readonly T[] {
  const [random, mixed] = [seeded(seed), [...items]];
  for (let last = mixed.length - 1; last > 0; last -= 1) {
    const other = random.int(last + 1);
    [mixed[last], mixed[other]] = [mixed[other] as T, mixed[last] as T];
  }
  return mixed;
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

process.exitCode = await main(orderOf(process.argv.slice(2)));
