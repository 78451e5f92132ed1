/**
 * The official conformance suite against a server behind gateway and connect, called by connect's URL, and against the
 * same server alone. What passes alone passes behind them, and the list of what passes may only grow. The server has
 * tools, resources, prompts, completions and logging, and asks its client: for sampling, by forms and for roots.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { startLegacyConformance, startModernConformance } from '../kit/mcp/servers/conformance-server.ts';
import { connectTo, startWorld } from '../kit/mcp/world/world.ts';

const SUITE = fileURLToPath(import.meta.resolve('@modelcontextprotocol/conformance/dist/index.js'));
const RECORDED = new URL('../vectors/mcp-conformance.json', import.meta.url);
/** What passed when this was last recorded, with CHANCERY_RECORD set. */
const inFile = (): Readonly<Record<Version, readonly string[]>> => JSON.parse(readFileSync(RECORDED, 'utf8'));
const recorded = inFile();
type Version = '2025-11-25' | '2026-07-28';
const record = (version: Version, passed: readonly string[]): void =>
  writeFileSync(RECORDED, `${JSON.stringify({ ...inFile(), [version]: passed }, null, 2)}\n`);
const ALL = { allow: ['*'] };
/** The server itself looks at no Host header; connect does. */
const REBINDING = 'dns-rebinding-protection localhost-host-rebinding-rejected';
const folder = mkdtempSync(join(tmpdir(), 'chy-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** "scenario check" of each check that passed, and of each that did not. */
async function checks(url: URL, version: string, name: string) {
  const out = join(folder, `${version}-${name}`);
  const args = [SUITE, 'server', '--url', url.href, '--suite', 'all', '--spec-version', version, '-o', out];
  // It exits with 1 where a check fails, and some have to.
  await new Promise<void>((resolve) => {
    execFile(process.execPath, args, { maxBuffer: 1 << 26 }, () => resolve());
  });
  const found = readdirSync(out).flatMap((scenario) => {
    const results = JSON.parse(readFileSync(join(out, scenario, 'checks.json'), 'utf8')) as Check[];
    const title = scenario.replace(/^server-/, '').replace(/-\d{4}-\d\d-\d\dT.*$/, '');
    return results.map(({ id, status }) => ({ name: `${title} ${id}`, status }));
  });
  const those = (status: string) => [
    ...new Set(found.filter((each) => each.status === status).map((each) => each.name)),
  ];
  const failed = new Set(those('FAILURE'));
  return { passed: those('SUCCESS').filter((each) => !failed.has(each)), failed };
}
interface Check {
  readonly id: string;
  readonly status: string;
}

test.each([
  ['2025-11-25', startLegacyConformance],
  ['2026-07-28', startModernConformance],
] as const)('%s', async (version, start) => {
  const server = await start();
  const asking = { sampling: ALL, elicitation: ALL, roots: true };
  const everything = { resources: ALL, prompts: ALL, completion: ALL, ...asking, logging: 'debug' };
  const world = await startWorld({ kind: 'url', url: server.url }, { rules: everything });
  const connect = await connectTo(world, { kind: 'tcp', port: 0 });
  const behind = await checks(new URL(`http://127.0.0.1:${connect.port}/mcp`), version, 'behind');
  const alone = await checks(server.url, version, 'alone');
  await connect.close();
  await world.close();
  await server.stop();
  if (process.env['CHANCERY_RECORD'] !== undefined) record(version, behind.passed);
  expect(alone.passed.filter((each) => !behind.passed.includes(each))).toEqual([]);
  expect(behind.passed.filter((each) => !alone.passed.includes(each))).toEqual([REBINDING]);
  expect(recorded[version].filter((each) => !behind.passed.includes(each))).toEqual([]);
});
