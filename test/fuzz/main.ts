/**
 * `npm run fuzz`: every target, or the named ones, a minute each. A finding is printed, kept in .work/fuzz, and makes
 * the run fail; `--seed N --once` or `--input BASE64` shows it again.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../kit/processes.ts';
import { type Finding, fuzz, judge, type Outcome, type Target } from './engine.ts';
import { TARGETS } from './targets.ts';

const FOLDER = join(root, '.work/fuzz');
const USAGE = `usage: npm run fuzz -- [TARGET...] [--seconds N] [--seed N] [--once] [--json]
       npm run fuzz -- TARGET --input BASE64
       npm run fuzz -- --list`;

const options = {
  seconds: { type: 'string', default: '60' },
  seed: { type: 'string', default: String(Date.now() % 2 ** 32) },
  once: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  list: { type: 'boolean', default: false },
  input: { type: 'string' },
} as const;

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parsed(args);
  const targets =
    positionals.length === 0 ? TARGETS : TARGETS.filter(({ name }) => positionals.includes(name));
  const unknown = positionals.find((name) => TARGETS.every((target) => target.name !== name));
  if (unknown !== undefined) return misused(`there is no target ${unknown}: --list shows them`);
  const [seconds, seed] = [Number(values.seconds), Number(values.seed)];
  if (!(seconds > 0) || !Number.isSafeInteger(seed)) return misused('--seconds and --seed are numbers');
  if (values.list) return list();
  const [only, ...more] = targets;
  if (values.input !== undefined)
    return only === undefined || more.length > 0
      ? misused('--input is for one target')
      : again(only, Buffer.from(values.input, 'base64'));
  return runAll(targets, { seconds, seed, once: values.once }, values.json);
}

function parsed(args: string[]) {
  try {
    return parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    process.exit(misused(error instanceof Error ? error.message : String(error)));
  }
}

function misused(why: string): number {
  console.error(`${why}\n${USAGE}`);
  return 2;
}

function list(): number {
  const width = Math.max(...TARGETS.map(({ name }) => name.length));
  for (const { name, says } of TARGETS) console.log(`${name.padEnd(width)}  ${says}`);
  return 0;
}

async function again(target: Target, input: Uint8Array): Promise<number> {
  const subject = await target.open();
  const { broken, says } = await judge(subject, input);
  await subject.close?.();
  console.log(broken === undefined ? `holds: ${says ?? 'accepted'}` : `${broken.law}: ${broken.says}`);
  return broken === undefined ? 0 : 1;
}

interface Limits {
  readonly seconds: number;
  readonly seed: number;
  readonly once: boolean;
}

async function runAll(targets: readonly Target[], limits: Limits, json: boolean): Promise<number> {
  const { seconds, seed } = limits;
  console.log(`${targets.length} targets, ${seconds} s each, seed ${seed}, Node ${process.version}\n`);
  const rows: object[] = [];
  let found = 0;
  for (const target of targets) {
    const tell = (executions: number, findings: number): void =>
      tellProgress(`${target.name}: ${executions} executions, ${findings} findings`);
    const outcome = await fuzz(target, { ...limits, tell });
    tellProgress('');
    found += outcome.findings.length;
    rows.push(print(target, outcome));
    for (const finding of outcome.findings) printFinding(target, finding, limits);
  }
  console.log(found === 0 ? '\nall laws hold' : `\n${found} findings, kept in ${FOLDER}`);
  if (json) console.log(JSON.stringify({ seed, targets: rows }));
  return found === 0 ? 0 : 1;
}

/** Accepted ones show that more than the outermost check was reached. */
function print({ name }: Target, { executions, seconds, accepted, sentences, findings }: Outcome): object {
  const rate = Math.round(executions / seconds);
  const cells = [
    `${executions} executions`.padStart(20),
    `${rate}/s`.padStart(9),
    `${((100 * accepted) / executions).toFixed(1)} % accepted`.padStart(16),
    `${sentences} sentences`.padStart(14),
    `${findings.length} findings`.padStart(12),
  ];
  console.log(`${name.padEnd(22)}${cells.join('')}`);
  return { name, executions, perSecond: rate, accepted, sentences, findings: findings.length };
}

function printFinding({ name }: Target, { law, says, input, at }: Finding, { seed, seconds }: Limits): void {
  const path = join(FOLDER, `${name}-${createHash('sha256').update(input).digest('hex').slice(0, 12)}`);
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(path, input);
  const text = Buffer.from(input).toString('base64');
  console.log(`  ${law}: ${says.replaceAll('\n', '\n    ')}
    ${input.length} bytes, after ${at} executions, in ${path}
    npm run fuzz -- ${name} --seed ${seed} --seconds ${seconds} --once
    npm run fuzz -- ${name} --input ${text.length <= 4000 ? text : `"$(base64 -w0 ${path})"`}`);
}

/** One line that replaces itself on a terminal; nothing where standard error is a file. */
function tellProgress(step: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${step}`);
}

process.exitCode = await main(process.argv.slice(2));
