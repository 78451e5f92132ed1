/** Agents that were killed and come back when their saved certificate is about to end, has ended or was revoked. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type FakeServer, startFakeServer } from '../kit/mcp/servers/server.ts';
import { readStatus } from '../kit/observe/status.ts';
import {
  AGENT_MAIN,
  type AgentFolder,
  type CaFolder,
  freePort,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'late.example';
const CALLER = `spiffe://${TRUST_DOMAIN}/web`;
const SERVER = `spiffe://${TRUST_DOMAIN}/tools/x`;
const TTL_SECONDS = 30;
const dir = makeFolder();
let ca: CaFolder;
let serving: Running;
let server: FakeServer;
let agents: Readonly<Record<'caller' | 'gateway', AgentFolder>>;
const running = new Map<string, Running>();
/** Open through all tests, as an MCP client leaves it. */
let connect: ChildProcess;
let answers: Interface;
beforeAll(async () => {
  server = await startFakeServer();
  const port = await freePort();
  const x509 = { ttl: `${TTL_SECONDS}s` };
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [
    { kind: 'Identity', name: 'web', platform: 'unix', id: CALLER, x509 },
    { kind: 'Identity', name: 'x', platform: 'unix', id: SERVER, x509 },
    { kind: 'McpServer', name: 'x', identity: SERVER, address: `127.0.0.1:${port}` },
    { kind: 'Access', name: 'a', who: [CALLER], servers: ['x'], tools: { allow: ['echo'] } },
  ]));
  const upstream = { url: server.target.kind === 'url' ? server.target.url.href : '' };
  const gateway = { server: 'x', listen: `127.0.0.1:${port}`, upstream };
  agents = {
    caller: makeAgent(ca, 'c', { evidence: { unix: {} }, id: CALLER }),
    gateway: makeAgent(ca, 'g', { evidence: { unix: {} }, id: SERVER, gateway }),
  };
  await start();
  const args = [AGENT_MAIN, 'connect', 'x', '--config', agents.caller.config];
  connect = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'ignore'] });
  if (connect.stdout === null) throw new Error('it has no standard output');
  answers = createInterface({ input: connect.stdout });
});
afterAll(async () => {
  connect.kill('SIGKILL');
  for (const each of [...running.values(), serving]) await each.stop('SIGKILL');
  await server.close();
  removeFolder(dir);
});

const NAMES = ['gateway', 'caller'] as const;

/** Both are killed when they have just renewed, and start again at that time of the certificate that ends last. */
async function restartedAt(time: 'renewAfter' | 'notAfter'): Promise<void> {
  const ends = await Promise.all(NAMES.map(async (name) => (await readStatus(agents[name].socket))[time]));
  for (const name of NAMES) await running.get(name)?.stop('SIGKILL');
  const last = Math.max(...ends.map((each) => Date.parse(each ?? '')));
  // A certificate is good to the end of its last second.
  await vi.waitUntil(() => Date.now() > last + 1_000, { timeout: 60_000 });
  await start();
}

async function start(): Promise<void> {
  for (const name of NAMES) running.set(name, await agents[name].run());
}

const logs = () => NAMES.map((name) => running.get(name)?.log() ?? '');

let asked = 0;
async function call(): Promise<unknown> {
  asked += 1;
  const line = once(answers, 'line');
  const params =
    asked === 1
      ? { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '1' } }
      : { name: 'echo', arguments: {} };
  const method = asked === 1 ? 'initialize' : 'tools/call';
  connect.stdin?.write(`${JSON.stringify({ jsonrpc: '2.0', id: asked, method, params })}\n`);
  return JSON.parse(String((await line)[0]));
}
const works = () =>
  vi.waitFor(async () => expect(await call()).toHaveProperty('result'), { timeout: 60_000, interval: 300 });

test('agents whose saved certificate is due start with it and renew it at once', async () => {
  await works();
  await restartedAt('renewAfter');
  for (const log of logs()) expect(log).toContain('started with the saved SVID; renewing it now');
  await vi.waitFor(() => {
    for (const log of logs()) expect(log).toContain('"msg":"rotated"');
  });
  await works();
});

test('agents whose saved certificate expired while they were down join anew', async () => {
  await restartedAt('notAfter');
  for (const log of logs())
    expect(log).toMatch(/the saved SVID cannot be used; joining again[\s\S]*"msg":"joined"/);
  await works();
});

test('an agent that was revoked while it was down says so, and works once that is lifted', async () => {
  const status = () => readStatus(agents.caller.socket);
  await running.get('caller')?.stop('SIGKILL');
  expect((await ca.cli('revoke', CALLER, '--reason', 'keyCompromise')).status).toBe(0);
  running.set('caller', await agents.caller.run());
  await vi.waitFor(async () => expect((await status()).revoked).toMatch(/revoked/));
  expect(JSON.stringify(await call())).toMatch(/this identity is revoked/);
  const [{ number }] = JSON.parse((await ca.cli('revocations', '--json')).stdout);
  expect((await ca.cli('unrevoke', String(number))).status).toBe(0);
  await vi.waitFor(async () => expect(await status()).toMatchObject({ revoked: null, problems: [] }));
  await works();
});
