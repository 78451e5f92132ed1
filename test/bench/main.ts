/**
 * `npm run bench`: every table, or the named ones, or named parts of them (`flood A3`); `--json` prints one as JSON,
 * `parallel` and `flood` always do.
 */
import { cpus, totalmem } from 'node:os';
import { agent } from './agent.ts';
import { audit } from './audit.ts';
import type { Bench, Outcome } from './bench.ts';
import { decide } from './decide.ts';
import { flood } from './flood/flood.ts';
import { issuance } from './issuance.ts';
import { joins } from './join/join.ts';
import { gateway } from './mcp/gateway.ts';
import { parallel } from './mcp/parallel.ts';
import { policy } from './policy.ts';
import { restart } from './restart.ts';
import { revocation } from './revocation/revocation.ts';
import { rotate } from './rotate/rotate.ts';

const BENCHES: Readonly<Record<string, Bench>> = {
  issuance,
  join: joins,
  gateway,
  parallel,
  agent,
  restart,
  revocation,
  rotate,
  audit,
  flood,
  decide,
  policy,
};

const args = process.argv.slice(2);
const json = args.includes('--json');
const given = args.filter((arg) => arg !== '--json');
const named = given.filter((name) => Object.hasOwn(BENCHES, name));
const partsOf = (name: string): readonly string[] => BENCHES[name]?.parts ?? [];
const unknown = given.filter(
  (name) => !named.includes(name) && !named.some((bench) => partsOf(bench).includes(name)),
);
if (unknown.length > 0 || (json && named.length !== 1)) {
  console.error(
    `usage: npm run bench -- [${Object.keys(BENCHES).join(' | ')}] [a part] [--json with one name]`,
  );
  process.exit(2);
}

const [cpu] = cpus();
console.log(
  `${cpus().length} x ${cpu?.model.trim()}, ${(totalmem() / 1e9).toFixed(0)} GB, Node ${process.version}\n`,
);
for (const name of named.length > 0 ? named : Object.keys(BENCHES)) {
  const bench = BENCHES[name];
  if (bench === undefined) continue;
  const only = given.filter((part) => partsOf(name).includes(part));
  const outcome = await bench.run((step) => tellProgress(`${name}: ${step}`), only);
  tellProgress('');
  print(name, bench, outcome);
  if (json || name === 'parallel' || name === 'flood') console.log(JSON.stringify(outcome.json));
}
process.exit(0);

function print(name: string, { says }: Bench, { table }: Outcome): void {
  const width = Math.max(...table.map(([left]) => left.length));
  console.log(`${name}: ${says}`);
  for (const [left, right] of table) console.log(`  ${left.padEnd(width)}  ${right}`);
  console.log();
}

/** One line that replaces itself on a terminal; nothing where standard error is a file. */
function tellProgress(step: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${step}`);
}
