/** The root rotated as an operator does it: real processes under calls that never pause, and a CA that is killed. */
import { watch } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readPem } from '@chancery/shared/der/pem.ts';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type FakeServer, politely, startFakeServer } from '../kit/mcp/server.ts';
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

const TRUST_DOMAIN = 'turn.example';
const [CALLER, TOOLS] = [`spiffe://${TRUST_DOMAIN}/caller`, `spiffe://${TRUST_DOMAIN}/tools`];
/** Half of this is what a renewal has for its retries while the CA is killed. */
const TTL = '40s';

let dir: string;
let ca: CaFolder;
let serving: Running;
let server: FakeServer;
let local: number;
const agents: Running[] = [];
const calls = { answered: 0, failed: [] as string[] };
let isOver = false;
let load: Promise<unknown>;

beforeAll(async () => {
  dir = makeFolder();
  const port = await freePort();
  local = await freePort();
  const identity = (name: string, id: string) => ({
    ...{ kind: 'Identity', name, platform: 'unix', id },
    x509: { ttl: TTL },
  });
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [
    identity('caller', CALLER),
    identity('tools', TOOLS),
    { kind: 'McpServer', name: 'echo', identity: TOOLS, address: `127.0.0.1:${port}` },
    { kind: 'Access', name: 'all', who: [CALLER], servers: ['echo'], tools: { allow: ['*'] } },
  ]));
  server = await startFakeServer();
  server.say = politely;
  const { target } = server;
  if (target.kind !== 'url') throw new Error('the server has no URL');
  const evidence = { unix: {} };
  const gateway = { server: 'echo', listen: `127.0.0.1:${port}`, upstream: { url: target.url.href } };
  const connect = [{ server: 'echo', listen: `127.0.0.1:${local}` }];
  const folders: readonly [AgentFolder, 'gateway' | 'run'][] = [
    [makeAgent(ca, 'gateway', { evidence, id: TOOLS, gateway }), 'gateway'],
    [makeAgent(ca, 'caller', { evidence, id: CALLER, connect }), 'run'],
  ];
  for (const [folder, command] of folders) agents.push(await folder.run(command));
  await vi.waitFor(async () => expect(await call()).toContain('"result"'));
  load = Promise.all([1, 2].map(callOnAndOn));
});
afterAll(async () => {
  isOver = true;
  await load;
  for (const agent of agents) await agent.stop();
  await serving.stop();
  await server.close();
  removeFolder(dir);
});

async function call(): Promise<string> {
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } });
  const answer = await fetch(`http://127.0.0.1:${local}/mcp`, { method: 'POST', headers, body });
  return answer.text();
}

async function callOnAndOn(): Promise<void> {
  while (!isOver) {
    const text = await call().catch((error: unknown) => String(error));
    if (text.includes('"result"')) calls.answered += 1;
    else calls.failed.push(text);
    await sleep(5);
  }
}

const rotate = async (...args: readonly string[]) => ca.cli('rotate', ...args);
const statusOf = async (): Promise<{
  stage: string;
  waits: string[];
  roots: { serial: string; state: string }[];
}> => JSON.parse((await rotate('status', '--json')).stdout);
const rootsOf = async () => readPem((await ca.cli('bundle')).stdout, 'CERTIFICATE', 'bundle').length;
const failedRenewals = () =>
  agents.flatMap(({ log }) => log().split('\n')).filter((line) => line.includes('could not be renewed'));

/** Makes steps as long as there are any, as `--auto` does, whatever is killed meanwhile. */
async function untilIdle(): Promise<void> {
  await vi.waitFor(async () => {
    const { stage, waits } = await statusOf();
    if (stage !== 'idle' && waits.length === 0) await rotate('next', '--yes');
    expect((await statusOf()).stage).toBe('idle');
  }, 120_000);
}

test('a whole rotation by one command: no call fails, no renewal fails', async () => {
  const [before] = (await statusOf()).roots;
  const answered = calls.answered;
  const done = await rotate('--auto');
  expect(done).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^made: .*removes the retiring root.*\nidle: no rotation is under way\n/),
  });
  expect(done.stderr).toMatch(/^published \[.*\nretiring \[\.*\] \d+ certificates .*/m);
  const { roots } = await statusOf();
  expect(roots).toMatchObject([{ state: 'active' }, { state: 'standby' }]);
  expect(roots[0]?.serial).not.toBe(before?.serial);
  expect(await rootsOf()).toBe(2);
  expect(calls.answered).toBeGreaterThan(answered);
  expect([calls.failed, failedRenewals()]).toEqual([[], []]);
});

/** Kills the CA at the n-th change of its folder of keys, which each write of an authority changes, and restarts it. */
async function killed(change: number, ...args: readonly string[]): Promise<void> {
  let left = change;
  const watcher = watch(join(dir, 'data', 'keys'), () => {
    left -= 1;
    if (left === 0) serving.child.kill('SIGKILL');
  });
  await rotate(...args);
  watcher.close();
  await serving.stop('SIGKILL');
  serving = await ca.serve();
}

test('a second one in which the CA is killed in each step: it goes on, and no call fails', async () => {
  const begun = await statusOf();
  for (const change of [1, 4]) if ((await statusOf()).stage === 'idle') await killed(change);
  // What was killed before its root was published goes on by the same command, and by the next step.
  if ((await statusOf()).stage === 'idle') await rotate();
  for (const change of [1, 4]) if ((await statusOf()).stage !== 'retiring') await killed(change, 'next');
  await vi.waitFor(async () => {
    if ((await statusOf()).stage !== 'retiring') await rotate('next');
    expect((await statusOf()).waits).toEqual([]);
  });
  const unasked = await rotate('next');
  expect(unasked).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/cannot be taken back.*--yes\n$/),
  });
  expect((await statusOf()).stage).toBe('retiring');
  await killed(1, 'next', '--yes');
  await untilIdle();
  const { roots } = await statusOf();
  expect(roots.map(({ serial }) => serial)).not.toEqual(begun.roots.map(({ serial }) => serial));
  expect(await rootsOf()).toBe(2);
  expect(calls.failed).toEqual([]);
}, 300_000);

test('rolled back from each state, no call fails, and the root is the one of before', async () => {
  const [before] = (await statusOf()).roots;
  await rotate();
  expect(await rotate('rollback')).toMatchObject({ status: 0, stdout: expect.stringMatching(/^idle: /) });
  expect(await rotate('rollback')).toMatchObject({
    status: 1,
    stderr: 'chancery-ca: no rotation is under way: chancery-ca rotate begins one\n',
  });
  await rotate();
  await vi.waitFor(async () => expect((await rotate('next')).status).toBe(0));
  expect((await statusOf()).stage).toBe('retiring');
  await rotate('rollback');
  expect(await statusOf()).toMatchObject({ stage: 'retiring', roots: [{ serial: before?.serial }, {}, {}] });
  await untilIdle();
  expect((await statusOf()).roots).toMatchObject([{ serial: before?.serial, state: 'active' }, {}]);
  expect(calls.failed).toEqual([]);
}, 300_000);
