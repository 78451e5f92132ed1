/** `npm run demo`: the whole path, told as it happens. `-- --once` ends by itself, `--json` prints a summary last. */
import { spawnSync } from 'node:child_process';
import { runDemo } from './story.ts';
import { makeWorld } from './world.ts';

const flags = new Set(process.argv.slice(2));
const once = flags.has('--once');
const json = flags.has('--json');
const unknown = [...flags].filter((flag) => !['--once', '--json'].includes(flag));
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(' ')}\nusage: npm run demo -- [--once] [--json]`);
  process.exit(2);
}
const started = performance.now();
const say = (line: string): void =>
  void process.stdout.write(`${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s  ${line}\n`);

const hasTpm = ['swtpm', 'swtpm_setup'].every(
  (program) => spawnSync(program, ['--version']).error === undefined,
);
if (!hasTpm)
  say('swtpm is not installed and cannot be installed here: peer credentials (unix) replace the TPM');

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
const world = await makeWorld(say, hasTpm ? 'tpm' : 'unix');
try {
  const summary = await runDemo(world, { say, once, signal: stop.signal });
  if (json) process.stdout.write(`${JSON.stringify(summary)}\n`);
  const good = summary.failedCalls === 0 && (stop.signal.aborted || summary.rotations >= 4);
  process.exitCode = good ? 0 : 1;
} catch (error) {
  process.exitCode = 1;
  console.error(error instanceof Error ? error.message : error);
  console.error(world.log());
} finally {
  await world.close();
}
