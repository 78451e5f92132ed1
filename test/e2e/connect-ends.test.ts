/** `chancery-agent connect` as an MCP client starts it: how it ends, and what its owner reads on standard error. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  AGENT_MAIN,
  type CaFolder,
  freePort,
  makeAgent,
  makeFolder,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'ends.example';
const WEB = `spiffe://${TRUST_DOMAIN}/web`;
const INITIALIZE = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
};

const dir = makeFolder();
const parts: (() => Promise<void>)[] = [];
let ca: CaFolder;
let deadPort: number;
/** Its agent runs on after it was revoked. */
let revoked: Awaited<ReturnType<typeof startAgent>>;
beforeAll(async () => {
  deadPort = await freePort();
  const server = `spiffe://${TRUST_DOMAIN}/tools/x`;
  const served = await serveUnixCa(dir, TRUST_DOMAIN, [
    { kind: 'Identity', name: 'web', platform: 'unix', id: WEB },
    { kind: 'McpServer', name: 'gone', identity: server, address: `127.0.0.1:${deadPort}` },
    { kind: 'Access', name: 'a', who: [WEB], servers: ['gone'], tools: { allow: ['*'] } },
  ]);
  ca = served.ca;
  parts.push(() => served.serving.stop());
});
afterAll(async () => {
  for (const part of parts.toReversed()) await part();
  removeFolder(dir);
});

const REVOKED = /this identity is revoked: .*keyCompromise/;

interface Started {
  readonly child: ChildProcess;
  readonly stderr: () => string;
  /** The status with which it ends. */
  readonly ended: Promise<number | null>;
}

/** Its standard input stays open until a test ends it. */
function connect(config: string, server: string): Started {
  const child = spawn(process.execPath, [AGENT_MAIN, 'connect', server, '--config', config]);
  const said: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => said.push(text));
  const ended = once(child, 'close').then(([status]) => status as number | null);
  return { child, stderr: () => said.join(''), ended };
}

async function startAgent(name: string) {
  const agent = makeAgent(ca, name, { evidence: { unix: {} } });
  const running = await agent.run();
  parts.push(() => running.stop());
  return agent;
}

test('a server that is not registered ends it with 1, the reason and the servers there are', async () => {
  const { config } = await startAgent('a');
  const { ended, stderr } = connect(config, 'github');
  expect(await ended).toBe(1);
  expect(stderr()).toMatch(/no server is registered as github for this identity; registered: gone/);
});

test('a gateway that cannot be reached is an error for the client and a line for its owner', async () => {
  const { config } = await startAgent('b');
  const { child, ended, stderr } = connect(config, 'gone');
  if (child.stdout === null) throw new Error('it has no standard output');
  const line = once(createInterface({ input: child.stdout }), 'line');
  child.stdin?.write(`${JSON.stringify(INITIALIZE)}\n`);
  const answer = JSON.parse(String((await line)[0]));
  const cause = `the gateway at 127.0.0.1:${deadPort}: the connection was refused`;
  expect(answer).toMatchObject({ id: 1, error: { message: expect.stringContaining(cause) } });
  await expect.poll(stderr).toMatch(/a request failed/);
  expect(stderr()).toContain(cause);
  child.stdin?.end();
  expect(await ended).toBe(0);
});

test('a caller that is revoked is told so: in the error of a call, on standard error, and at the end', async () => {
  revoked = await startAgent('c');
  const open = connect(revoked.config, 'gone');
  if (open.child.stdout === null) throw new Error('it has no standard output');
  const lines = createInterface({ input: open.child.stdout });
  const ask = async (): Promise<string> => {
    open.child.stdin?.write(`${JSON.stringify(INITIALIZE)}\n`);
    return JSON.parse(String((await once(lines, 'line'))[0])).error.message;
  };
  expect(await ask()).toContain('the connection was refused');
  expect((await ca.cli('revoke', WEB, '--reason', 'keyCompromise')).status).toBe(0);
  await expect.poll(ask).toMatch(REVOKED);
  await expect.poll(open.stderr).toMatch(REVOKED);
  open.child.stdin?.end();
  expect(await open.ended).toBe(1);
  expect(open.stderr().trimEnd().split('\n').at(-1)).toMatch(REVOKED);
});

test('a caller that was revoked before ends it with 1 and the reason, also when its input ends at once', async () => {
  const { config } = revoked;
  for (const input of ['stays open', 'ends']) {
    const { child, ended, stderr } = connect(config, 'gone');
    if (input === 'ends') child.stdin?.end(`${JSON.stringify(INITIALIZE)}\n`);
    expect(await ended).toBe(1);
    expect(stderr()).toMatch(REVOKED);
    expect(stderr()).not.toContain('"code"');
  }
});
