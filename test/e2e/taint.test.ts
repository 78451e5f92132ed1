/** Authorities whose key is stolen, with real processes: under calls that never pause, and with agents asleep. */
import { cpSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type FakeServer, politely, startFakeServer } from '../kit/mcp/servers/server.ts';
import {
  type AgentFolder,
  type CaFolder,
  freePort,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'stolen.example';
const idOf = (name: string): string => `spiffe://${TRUST_DOMAIN}/${name}`;
const NAMES = ['tools', 'caller', 'here', 'frozen', 'away', 'later'] as const;
type Name = (typeof NAMES)[number];

let dir: string;
let ca: CaFolder;
let serving: Running;
let server: FakeServer;
let local: number;
const folders = new Map<Name, AgentFolder>();
const running = new Map<Name, Running>();
const calls = { answered: 0, failed: 0, lastFailed: 0 };
let isOver = false;
let load: Promise<unknown>;

beforeAll(async () => {
  dir = makeFolder();
  const port = await freePort();
  local = await freePort();
  const identities = NAMES.map((name) => ({
    ...{ kind: 'Identity', name, platform: 'unix', id: idOf(name) },
    x509: { ttl: '10m' },
  }));
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [
    ...identities,
    { kind: 'McpServer', name: 'echo', identity: idOf('tools'), address: `127.0.0.1:${port}` },
    { kind: 'Access', name: 'all', who: [idOf('caller')], servers: ['echo'], tools: { allow: ['*'] } },
  ]));
  server = await startFakeServer();
  server.say = politely;
  const { target } = server;
  if (target.kind !== 'url') throw new Error('the server has no URL');
  const gateway = { server: 'echo', listen: `127.0.0.1:${port}`, upstream: { url: target.url.href } };
  const connect = [{ server: 'echo', listen: `127.0.0.1:${local}` }];
  const more: Partial<Record<Name, object>> = { tools: { gateway }, caller: { connect } };
  for (const name of NAMES) {
    const own = { evidence: { unix: {} }, id: idOf(name), outputs: [{ dir: 'out' }], ...more[name] };
    folders.set(name, makeAgent(ca, name, own));
    await wake(name);
  }
  await vi.waitFor(async () => expect(await call()).toContain('"result"'), 30_000);
  load = Promise.all([1, 2].map(callOnAndOn));
});
afterAll(async () => {
  isOver = true;
  await load;
  for (const each of running.values()) await each.stop('SIGKILL');
  await serving.stop();
  await server.close();
  removeFolder(dir);
});

const folderOf = (name: Name): AgentFolder => {
  const found = folders.get(name);
  if (found === undefined) throw new Error(`no agent ${name}`);
  return found;
};
const wake = async (name: Name): Promise<void> => {
  running.set(name, await folderOf(name).run(name === 'tools' ? 'gateway' : 'run'));
};
const svidOf = (name: Name): string => readFileSync(join(folderOf(name).dir, 'out', 'svid.pem'), 'latin1');
const bundleOf = (name: Name): string =>
  readFileSync(join(folderOf(name).dir, 'out', 'bundle.pem'), 'latin1');

async function call(): Promise<string> {
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } });
  const answer = await fetch(`http://127.0.0.1:${local}/mcp`, { method: 'POST', headers, body });
  return answer.text();
}

async function callOnAndOn(): Promise<void> {
  while (!isOver) {
    const isAnswered = (await call().catch(() => '')).includes('"result"');
    if (isAnswered) calls.answered += 1;
    else Object.assign(calls, { failed: calls.failed + 1, lastFailed: performance.now() });
    await sleep(5);
  }
}

interface Listed {
  readonly serial: string;
  readonly kind: string;
  readonly state: string;
}
async function authorityOf(kind: string, state: string): Promise<string> {
  const { stdout } = await ca.cli('authorities', '--json');
  const { authorities } = JSON.parse(stdout) as { authorities: readonly Listed[] };
  const found = authorities.find((each) => each.kind === kind && each.state === state);
  if (found === undefined) throw new Error(`no ${kind} is ${state}: ${stdout}`);
  return found.serial;
}
const taint = (authority: string, ...more: readonly string[]) =>
  ca.cli('taint', authority, '--reason', 'a drill', ...more);

/** Everybody has a certificate of now, and the bundle of now. */
async function expectRenewed(before: ReadonlyMap<Name, string>): Promise<void> {
  await vi.waitFor(async () => {
    const { stdout } = await ca.cli('bundle');
    for (const [name, was] of before) {
      expect(svidOf(name), name).not.toBe(was);
      expect(bundleOf(name), name).toBe(stdout.replace(/^# .*\n/m, ''));
    }
  }, 90_000);
}

const certificates = (names: readonly Name[] = NAMES) =>
  new Map(names.map((name) => [name, svidOf(name)] as const));

/** Resolves with the seconds from the beginning to the last failed call, once calls have gone well for a while. */
async function failedFor(begun: number): Promise<number> {
  await vi.waitFor(async () => {
    const { answered } = calls;
    await sleep(1_000);
    expect(performance.now() - calls.lastFailed).toBeGreaterThan(1_000);
    expect(calls.answered).toBeGreaterThan(answered);
  }, 60_000);
  return Math.max(0, calls.lastFailed - begun) / 1000;
}

test('a stolen intermediate is not taken without --yes, and the command says what it would do', async () => {
  const stolen = await authorityOf('intermediate', 'active');
  const { status, stdout, stderr } = await taint(stolen);
  expect(status).toBe(1);
  expect(stdout).toMatch(/^would taint intermediate \w+: \d+ certificates of 6 SPIFFE IDs are refused/);
  expect(stderr).toMatch(/needs --yes/);
  expect(await authorityOf('intermediate', 'active')).toBe(stolen);
});

test('a stolen intermediate under load: everybody has another certificate within seconds, and calls go on', async () => {
  const stolen = await authorityOf('intermediate', 'active');
  const before = certificates();
  const [begun, failed] = [performance.now(), calls.failed];
  expect(await taint(stolen, '--yes')).toMatchObject({ status: 0 });
  await expectRenewed(before);
  const seconds = await failedFor(begun);
  console.log(`calls failed for ${seconds.toFixed(1)} s: ${calls.failed - failed} of them`);
  expect(seconds).toBeLessThan(20);
  expect(await authorityOf('intermediate', 'tainted')).toBe(stolen);
}, 180_000);

test('a stolen root with a standby root, half of the agents offline: all come back by themselves', async () => {
  const [stolen, spare] = [await authorityOf('root', 'active'), await authorityOf('root', 'standby')];
  const before = certificates();
  // As an operator does it: the key of the standby root is elsewhere until that night.
  const [data, elsewhere] = [join(dir, 'data'), join(dir, 'elsewhere')];
  renameSync(join(data, 'standby'), elsewhere);
  const refused = await taint(stolen, '--yes');
  expect(refused.stderr).toMatch(/is not at hand .*: bring the folder of the standby key back/s);
  expect(await authorityOf('root', 'active')).toBe(stolen);
  cpSync(elsewhere, join(data, 'standby'), { recursive: true });

  for (const name of ['away', 'later'] as const) await running.get(name)?.stop();
  running.get('frozen')?.child.kill('SIGSTOP');
  const begun = performance.now();
  const done = await taint(stolen, '--yes', '--json');
  expect(JSON.parse(done.stdout)).toMatchObject({ root: { serial: spare }, byHand: [] });
  expect(await authorityOf('root', 'active')).toBe(spare);
  await expectRenewed(new Map([...before].filter(([name]) => ['tools', 'caller', 'here'].includes(name))));
  const seconds = await failedFor(begun);
  console.log(`calls failed for ${seconds.toFixed(1)} s`);
  running.get('frozen')?.child.kill('SIGCONT');
  await wake('away');
  await wake('later');
  await expectRenewed(before);
}, 300_000);

test('the folder of the next standby root is carried away, and the root that signs goes on', async () => {
  const [data, signs] = [join(dir, 'data'), await authorityOf('root', 'active')];
  expect((await ca.cli('rotate', 'standby')).status).toBe(0);
  const spare = await authorityOf('root', 'standby');
  expect(readdirSync(join(data, 'standby'))).toEqual([`${spare}.key`]);
  renameSync(join(data, 'standby'), join(dir, 'next'));
  expect(await ca.cli('rotate', '--intermediate')).toMatchObject({ status: 0 });
  const { stdout } = await ca.cli('backup', join(dir, 'backup'));
  expect(stdout).toMatch(`not in it: the key of root ${spare}, in standby`);
  expect(stdout).not.toContain(signs);
  expect(readdirSync(join(dir, 'backup', 'keys'))).toContain(`${signs}.key`);
});

test('a root that signs and whose key is away is what check warns of, and the CA at its start', async () => {
  const signs = await authorityOf('root', 'active');
  await serving.stop();
  expect((await ca.cli('check')).stderr).not.toContain('is not at hand');
  renameSync(join(dir, 'data', 'keys', `${signs}.key`), join(dir, `${signs}.key`));
  const { status, stderr } = await ca.cli('check');
  expect(status).toBe(0);
  expect(stderr).toMatch(
    /^warning: the key of root \w+, which signs, is not at hand \(standby\): it is missing;/m,
  );
  serving = await ca.serve();
  expect(serving.log()).toMatch(/bring the folder of the standby key back/);
});
