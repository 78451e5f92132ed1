/** The incident drill of docs/operations.md: its commands as they stand there, at real processes with open calls. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { holdCalls } from '../kit/mcp/clients/open-calls.ts';
import { type FakeServer, startFakeServer } from '../kit/mcp/servers/server.ts';
import {
  type AgentFolder,
  type CaFolder,
  freePort,
  makeAgent,
  makeFolder,
  type Ran,
  type Running,
  removeFolder,
  root,
  serveUnixCa,
} from '../kit/processes.ts';

// Those of the page, so that its commands run as they are.
const TRUST_DOMAIN = 'prod.example';
const id = (path: string): string => `spiffe://${TRUST_DOMAIN}/${path}`;
const [TRIAGE, OTHER, GITHUB] = [id('agents/triage'), id('agents/other'), id('tools/github')];
const OPEN_CALLS = 40;

const [, section = ''] = readFileSync(join(root, 'docs/operations.md'), 'utf8').split('\n## An incident\n');
const [, block = ''] = /```sh\n([^`]+)```/.exec(section) ?? [];
const commands = block
  .trim()
  .split('\n')
  .map((line) => line.replace(/^chancery-ca /, '').split(' '));

let dir: string;
let ca: CaFolder;
let server: FakeServer;
let calls: ReturnType<typeof holdCalls>;
let gateway: AgentFolder;
const ports = new Map<string, number>();
const running: Running[] = [];

beforeAll(async () => {
  dir = makeFolder();
  server = await startFakeServer();
  calls = holdCalls(server);
  const { target } = server;
  if (target.kind !== 'url') throw new Error('the server has no URL');
  const listen = `127.0.0.1:${await freePort()}`;
  const identity = (name: string, of: string) => ({ kind: 'Identity', name, platform: 'unix', id: of });
  const served = await serveUnixCa(dir, TRUST_DOMAIN, [
    identity('triage', TRIAGE),
    identity('other', OTHER),
    identity('github', GITHUB),
    { kind: 'McpServer', name: 'github', identity: GITHUB, address: listen },
    { kind: 'Access', name: 'agents', who: [id('agents/*')], servers: ['github'], tools: { allow: ['*'] } },
  ]);
  ca = served.ca;
  running.push(served.serving);
  const evidence = { unix: {} };
  const upstream = { url: target.url.href };
  gateway = makeAgent(ca, 'gateway', {
    evidence,
    id: GITHUB,
    gateway: { server: 'github', listen, upstream, report: {} },
  });
  running.push(await gateway.run('gateway'));
  for (const each of [TRIAGE, OTHER]) {
    const port = await freePort();
    ports.set(each, port);
    const connect = [{ server: 'github', listen: `127.0.0.1:${port}` }];
    running.push(await makeAgent(ca, `caller${port}`, { evidence, id: each, connect }).run());
  }
});
afterAll(async () => {
  for (const each of running.toReversed()) await each.stop();
  await server.close();
  removeFolder(dir);
});

/** What the client of connect reads of one call. */
async function call(as: string, tool = 'echo'): Promise<string> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: tool } });
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const answer = await fetch(`http://127.0.0.1:${ports.get(as)}/mcp`, { method: 'POST', headers, body });
  return answer.text();
}

test('the page has three commands: cut off, what it did, what it could reach', () => {
  expect(commands.map(([command]) => command)).toEqual(['revoke', 'audit', 'reach']);
});

test('M15 from the command to the last open call cut', async () => {
  for (const each of [TRIAGE, OTHER])
    await vi.waitFor(async () => expect(await call(each, 'get-sum')).toContain('"result"'));
  const ended: number[] = [];
  const open = Array.from({ length: OPEN_CALLS }, async () => {
    const text = await call(TRIAGE);
    ended.push(performance.now());
    return text;
  });
  const bystander = call(OTHER);
  await vi.waitFor(() => expect(calls.open).toBe(OPEN_CALLS + 1));

  const [revoke = [], query = [], reach = []] = commands;
  const begun = performance.now();
  const cut = await ca.cli(...revoke);
  const answered = performance.now();
  expect(cut).toMatchObject({ status: 0, stdout: expect.stringContaining('is in force (no end)') });
  for (const text of await Promise.all(open)) expect(text).toMatch(/"error"/);
  const last = Math.max(...ended);
  const took = answered - begun;
  expect(await call(TRIAGE)).toMatch(/"error":.*this identity is revoked/);

  // The newest calls are on their way from the gateway for a moment.
  const did = await vi.waitFor(async (): Promise<Ran> => {
    const found = await ca.cli(...query);
    expect(found).toMatchObject({ status: 0, stderr: '' });
    expect(found.stdout.match(/call\.recorded .*stage=decided/g)?.length).toBeGreaterThan(OPEN_CALLS);
    return found;
  });
  for (const event of ['svid.issuing', 'revocation.made']) expect(did.stdout).toContain(event);
  const [, made = ''] = /(\S+Z) +revocation\.made/.exec(did.stdout) ?? [];
  const inForce = Date.parse(made) - performance.timeOrigin;
  console.log(
    `incident drill: ${OPEN_CALLS} open calls; the last was cut ${(last - begun).toFixed(0)} ms after the command ` +
      `began, ${(last - inForce).toFixed(0)} ms after the revocation was recorded; the command took ${took.toFixed(0)} ms`,
  );
  const could = await ca.cli(...reach);
  expect(could).toMatchObject({ status: 0, stderr: expect.stringContaining('revoked') });
  expect(could.stdout).toMatch(/may call:\n.*\nspiffe:\S+ +github +\* /);

  // Who was not revoked goes on, with a call that was open all the time.
  calls.answerAll();
  expect(await bystander).toContain('"result"');
});

test('what it called at any gateway is in its records, too', () => {
  const lines = readFileSync(join(gateway.dir, 'data', 'calls.jsonl'), 'utf8')
    .trimEnd()
    .split('\n');
  const records = lines.map((line) => JSON.parse(line) as { stage: string; caller?: string; code?: string });
  const own = records.filter(({ caller }) => caller === TRIAGE);
  expect(own.filter(({ stage }) => stage === 'decided').length).toBeGreaterThanOrEqual(OPEN_CALLS + 1);
  expect(own.some(({ code }) => code === 'revoked_peer')).toBe(true);
});
