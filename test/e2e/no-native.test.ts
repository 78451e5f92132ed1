/** An agent, connect and the commands of `mcp` without koffi and any other native module, as where none is built. */
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { NO_NATIVE } from '../kit/mcp/clients/no-native.ts';
import { type FakeServer, politely, reply, startFakeServer } from '../kit/mcp/servers/server.ts';
import {
  AGENT_MAIN,
  freePort,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  root,
  serveUnixCa,
  startProgram,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'plain.example';
const id = (path: string): string => `spiffe://${TRUST_DOMAIN}/${path}`;
const env = { ...process.env, NODE_OPTIONS: `--import=${NO_NATIVE}`, CHY_TEST_NO_NATIVE: 'yes' };
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

let dir: string;
let server: FakeServer;
let running: Running[];
/** Beside an agent without native modules. */
let beside: ReturnType<typeof makeAgent>;
/** No agent runs. */
let alone: ReturnType<typeof makeAgent>;
beforeAll(async () => {
  dir = makeFolder();
  server = await startFakeServer();
  server.say = (seen, res, req) => {
    if (seen.json?.method !== 'initialize') return politely(seen, res, req);
    const serverInfo = { name: 'x', version: '1' };
    const result = { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo };
    reply(res, { jsonrpc: '2.0', id: seen.json.id, result });
  };
  const address = `127.0.0.1:${await freePort()}`;
  const { ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [
    { kind: 'Identity', name: 'triage', platform: 'unix', id: id('triage') },
    { kind: 'Identity', name: 'tools', platform: 'unix', id: id('tools') },
    { kind: 'McpServer', name: 'github', identity: id('tools'), address },
    { kind: 'Access', name: 'all', who: [id('triage')], servers: ['github'], tools: { allow: ['echo'] } },
  ]);
  if (server.target.kind !== 'url') throw new Error('the server has no URL');
  const evidence = { unix: {} };
  const behind = { server: 'github', listen: address, upstream: { url: server.target.url.href } };
  const gateway = makeAgent(ca, 'gateway', { evidence, id: id('tools'), gateway: behind });
  beside = makeAgent(ca, 'beside', { evidence, id: id('triage') });
  alone = makeAgent(ca, 'alone', { evidence, id: id('triage') });
  const agent = startProgram(AGENT_MAIN, ['run', '--config', beside.config], env);
  running = [serving, await gateway.run('gateway'), await agent];
});
afterAll(async () => {
  for (const each of running.toReversed()) await each.stop();
  await server.close();
  removeFolder(dir);
});

function run(...args: readonly string[]): Promise<readonly [status: unknown, out: string, err: string]> {
  return new Promise((resolve) => {
    execFile(process.execPath, [AGENT_MAIN, ...args], { env }, (error, out, err) =>
      resolve([error?.code ?? 0, out, err]),
    );
  });
}

test('the program has no native module', async () => {
  const libc = pathToFileURL(join(root, 'shared/src/unix/libc.ts')).href;
  const script = `import { openLibc } from '${libc}'; try { openLibc() } catch ({ code }) { console.log(code) }`;
  const says = await new Promise<string>((resolve) => {
    execFile(process.execPath, ['--input-type=module', '-e', script], { env }, (_, out) => resolve(out));
  });
  expect(says).toBe('MODULE_NOT_FOUND\n');
  expect(running.at(-1)?.log()).toContain('the kernel cannot be asked for local callers');
});

test.each([
  ['beside an agent', () => beside],
  ['without an agent', () => alone],
])('connect over stdio calls a tool %s', async (_, where) => {
  const client = new Client({ name: 'test', version: '1' });
  const args = [AGENT_MAIN, 'connect', 'github', '--config', where().config];
  const transport = new StdioClientTransport({
    command: process.execPath,
    args,
    env: env as Record<string, string>,
    stderr: 'inherit',
  });
  try {
    await client.connect(transport);
    const { content } = await client.callTool({ name: 'echo', arguments: {} });
    expect(content).toEqual([{ type: 'text', text: 'echo' }]);
  } finally {
    await client.close();
  }
});

test('status, mcp ls and mcp call work beside the agent', async () => {
  const config = ['--config', beside.config];
  expect(await run('status', ...config)).toMatchObject([0, expect.stringContaining(id('triage')), '']);
  expect(await run('mcp', 'ls', ...config)).toMatchObject([0, expect.stringContaining('github'), '']);
  expect(await run('mcp', 'call', 'github', 'echo', ...config)).toEqual([0, 'echo\n', '']);
});

test('connect opens no port, and a socket in a folder that is closed to others', async () => {
  const args = ['connect', 'github', '--config', beside.config, '--listen'];
  const [status, out, err] = await run(...args, `127.0.0.1:${await freePort()}`);
  expect([status, out]).toEqual([1, '']);
  expect(err).toMatch(/a port needs koffi and glibc, .* use standard input and output, or unix:PATH/);
  for (const mode of [0o755, 0o700]) {
    const folder = join(dir, `at-${mode.toString(8)}`);
    mkdirSync(folder, { mode });
    const socketPath = join(folder, 'mcp.sock');
    const stop = new AbortController();
    const child = execFile(process.execPath, [AGENT_MAIN, ...args, `unix:${socketPath}`], {
      env,
      signal: stop.signal,
    });
    child.on('error', () => {});
    const text = await Promise.race([
      vi.waitFor(() => posted(socketPath), { timeout: 60_000 }),
      new Promise<string>((resolve) => child.once('exit', (code) => resolve(`status ${code}`))),
    ]).finally(() => stop.abort());
    expect(text).toContain(mode === 0o700 ? '"text":"echo"' : 'status 1');
  }
});

function posted(socketPath: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
    const outgoing = request({ socketPath, path: '/mcp', method: 'POST', headers, agent: false });
    outgoing.on('error', reject).on('response', async (response) => {
      resolve(Buffer.concat(await response.toArray()).toString());
    });
    outgoing.end(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } }));
  });
}
