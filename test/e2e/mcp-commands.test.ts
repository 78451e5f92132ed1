/** `chancery-agent mcp ls`, `tools` and `call`, beside the agent of an identity that may reach two of four servers. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { type FakeServer, politely, reply, startFakeServer } from '../kit/mcp/servers/server.ts';
import {
  AGENT_MAIN,
  freePort,
  makeAgent,
  makeFolder,
  type Ran,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'commands.example';
const id = (path: string): string => `spiffe://${TRUST_DOMAIN}/${path}`;
const [CALLER, TOOLS, AWAY] = [id('agents/triage'), id('tools'), id('away')];
const NAMES = ['docs', 'github', 'mail'];
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

function urlOf({ target }: FakeServer): string {
  if (target.kind !== 'url') throw new Error('the server has no URL');
  return target.url.href;
}

let dir: string;
let server: FakeServer;
let running: Running[];
let caller: ReturnType<typeof makeAgent>;
let left: ChildProcess | undefined;
beforeAll(async () => {
  dir = makeFolder();
  server = await startFakeServer();
  const address = `127.0.0.1:${await freePort()}`;
  const mcp = (name: string, more = {}) => ({ kind: 'McpServer', name, identity: TOOLS, address, ...more });
  const tools = { echo: { action: 'read' }, 'get-env': { action: 'admin' }, 'get-*': { action: 'query' } };
  const who = [CALLER];
  const [allow, deny] = [['echo', 'get-*'], ['get-env']];
  const { ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [
    { kind: 'Identity', name: 'triage', platform: 'unix', id: CALLER },
    { kind: 'Identity', name: 'tools', platform: 'unix', id: TOOLS },
    ...[mcp('docs'), mcp('github', { tools }), mcp('mail')],
    { ...mcp('away'), identity: AWAY, address: `127.0.0.1:${await freePort()}` },
    { kind: 'Access', name: 'agents', who, servers: ['github', 'away'], tools: { allow, deny } },
    { kind: 'Access', name: 'reads', who, servers: ['docs'], resources: { allow: ['file:///**'] } },
    { kind: 'Access', name: 'others', who: [id('agents/other')], servers: ['mail'], tools: { allow: ['*'] } },
  ]);
  const evidence = { unix: {} };
  const servers = NAMES.map((name) => ({ server: name, upstream: { url: urlOf(server) } }));
  const gateway = makeAgent(ca, 'gateway', { evidence, id: TOOLS, gateway: { listen: address, servers } });
  caller = makeAgent(ca, 'caller', { evidence, id: CALLER });
  running = [serving, await gateway.run('gateway'), await caller.run()];
});
afterEach(() => {
  left?.kill('SIGKILL');
  server.say = politely;
  server.seen.length = 0;
});
afterAll(async () => {
  for (const each of running.toReversed()) await each.stop();
  await server.close();
  removeFolder(dir);
});

const mcp = (...args: readonly string[]): Promise<Ran> => caller.cli('mcp', ...args);
const json = async (...args: readonly string[]) => JSON.parse((await mcp(...args, '--json')).stdout);
/** What the server got of a call. */
const called = () => server.seen.map(({ json: seen }) => seen).find((each) => each?.method === 'tools/call');

test('ls shows each server with its tools by class, and which gateway does not answer', async () => {
  const { status, stdout } = await mcp('ls');
  expect(status).toBe(1);
  expect(stdout.split('\n')).toEqual([
    expect.stringMatching(/^ {2}away {4}does not answer: the gateway at 127\.0\.0\.1:\d+: /),
    '  docs    WARNING: no rule lets this identity call any tool',
    '  github  read: echo; query: get-*; not allowed: get-env',
    '',
  ]);
  expect(await json('ls')).toMatchObject([
    { server: 'away', up: false, any: null },
    { server: 'docs', up: true, any: false, problem: expect.stringContaining('no rule') },
    {
      server: 'github',
      identity: TOOLS,
      any: true,
      problem: null,
      tools: [{ tool: 'echo', may: 'yes' }, {}, {}],
    },
  ]);
  expect(server.seen).toEqual([]);
});

test('tools asks the server, and says which tools may be called and why others may not', async () => {
  const { status, stdout } = await mcp('tools', 'github');
  expect(status).toBe(0);
  expect(stdout.split('\n')).toEqual([
    expect.stringMatching(/^ {2}yes {4}echo {5}\[read\]/),
    expect.stringMatching(/^ {2}yes {4}get-sum/),
    expect.stringMatching(/^ {2}no {5}get-env {2}\[admin\] agents does not let \S+ call tool get-env of/),
    '',
  ]);
  expect(await json('tools', 'github', 'new-tool')).toMatchObject([
    { tool: 'new-tool', may: 'no', reason: expect.stringContaining('no Access rule lets'), listed: false },
  ]);
});

test('a server of others is as unknown as one of nobody', async () => {
  const says = (name: string): string =>
    `chancery-agent: no server is registered as ${name} for this identity; registered: away, docs, github\n`;
  for (const name of ['mail', 'nowhere'])
    for (const verb of [
      ['tools', name],
      ['call', name, 'echo'],
    ])
      expect(await mcp(...verb)).toMatchObject({ status: 1, stdout: '', stderr: says(name) });
});

test.each([
  [['n=3', 'text=a=b', 'list=["x"]'], { n: 3, text: 'a=b', list: ['x'] }],
  [['{"n": 1.5, "of": {"a": null}}'], { n: 1.5, of: { a: null } }],
  [[], {}],
])('call sends the arguments %j', async (given, expected) => {
  const { status, stdout, stderr } = await mcp('call', 'github', 'echo', ...given);
  expect([status, stdout, stderr]).toEqual([0, 'echo\n', '']);
  expect(called()?.params).toMatchObject({ name: 'echo', arguments: expected });
});

test('a denied call has status 1, says why, and does not reach the server', async () => {
  const { status, stdout, stderr } = await mcp('call', 'github', 'get-env');
  expect([status, stdout]).toEqual([1, '']);
  expect(stderr).toMatch(
    /^chancery-agent: not allowed: agents does not let \S+ call tool get-env .*\(decision/,
  );
  expect(await json('call', 'github', 'get-env')).toEqual({
    outcome: 'denied',
    reason: expect.stringContaining('agents does not let'),
  });
  expect(called()).toBeUndefined();
});

const failing = (body: object) => {
  server.say = (seen, res, req) =>
    seen.json?.method === 'tools/call'
      ? reply(res, { jsonrpc: '2.0', id: seen.json.id, ...body })
      : politely(seen, res, req);
};

test('a tool that reports an error has status 3, and an error of the server status 1', async () => {
  const result = { isError: true, content: [{ type: 'text', text: 'no such row' }] };
  failing({ result });
  expect(await mcp('call', 'github', 'echo')).toMatchObject({
    status: 3,
    stderr: 'chancery-agent: no such row\n',
  });
  expect(await json('call', 'github', 'echo')).toMatchObject({ outcome: 'tool_error', result });
  failing({ error: { code: -32602, message: 'no text' } });
  expect(await mcp('call', 'github', 'echo')).toMatchObject({
    status: 1,
    stderr: 'chancery-agent: no text (-32602)\n',
  });
});

test('a call whose answer is lost has status 4', async () => {
  server.say = (seen, res, req) =>
    seen.json?.method === 'tools/call' ? req.socket.destroy() : politely(seen, res, req);
  expect(await mcp('call', 'github', 'echo')).toMatchObject({ status: 4, stdout: '' });
  expect(await json('call', 'github', 'echo')).toMatchObject({ outcome: 'unknown' });
});

test('SIGINT cancels an open call at the server', async () => {
  const got = Promise.withResolvers<void>();
  server.say = (seen, res, req) => {
    if (seen.json?.method === 'tools/call') got.resolve();
    else politely(seen, res, req);
  };
  const args = [AGENT_MAIN, 'mcp', 'call', 'github', 'echo', '--config', caller.config];
  left = spawn(process.execPath, args, { stdio: 'ignore' });
  const ended = once(left, 'exit');
  await got.promise;
  left.kill('SIGINT');
  expect(await ended).toEqual([130, null]);
  const methods = server.seen.map(({ method, json: seen }) => seen?.method ?? method);
  expect(methods).toContain('notifications/cancelled');
});
