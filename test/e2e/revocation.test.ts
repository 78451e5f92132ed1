/** Cutting an identity off as an operator does it: real processes, from the command to the agent that is out. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type FakeServer, politely, startFakeServer, stream } from '../kit/mcp/servers/server.ts';
import { readStatus } from '../kit/observe/status.ts';
import {
  type AgentFolder,
  type CaFolder,
  freePort,
  makeAgent,
  makeFolder,
  type Ran,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'cut.example';
const ID = `spiffe://${TRUST_DOMAIN}/w`;
let dir: string;
let ca: CaFolder;
let serving: Running;
let agent: AgentFolder;
let running: Running;
beforeAll(async () => {
  dir = makeFolder();
  const identity = { kind: 'Identity', name: 'w', platform: 'unix', id: ID };
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [identity]));
  agent = makeAgent(ca, 'agent', { evidence: { unix: {} } });
  running = await agent.run();
  await vi.waitFor(async () => expect(await connected()).toBe(1));
});
afterAll(async () => {
  await running.stop();
  await serving.stop();
  removeFolder(dir);
});

const connected = async (): Promise<number> => JSON.parse((await ca.cli('agents', '--json')).stdout).length;
const ran = (stdout: RegExp, stderr = /^$/): Ran =>
  expect.objectContaining({
    status: 0,
    stdout: expect.stringMatching(stdout),
    stderr: expect.stringMatching(stderr),
  });

test.each([
  [
    'nothing',
    [],
    /^give one of SERIAL, SPIFFE-ID, --node PLATFORM\/NODE and --pattern PATTERN\nsee chancery-ca revoke --help\n$/,
  ],
  ['two things', [ID, '--node', 'a/b'], /^give one of SERIAL/],
  ['two names', [ID, `${ID}2`], /^give one of SERIAL/],
  [
    'a reason in another spelling',
    [ID, '--reason', 'keycompromise'],
    /^--reason keycompromise: one of unspecified, .*; did you mean keyCompromise\?\n/,
  ],
  ['no reason', [ID], /^--reason is required: unspecified, keyCompromise, /],
])('revoke with %s is misuse', async (_, argv, stderr) => {
  expect(await ca.cli('revoke', ...argv)).toEqual({
    status: 2,
    stdout: '',
    stderr: expect.stringMatching(stderr),
  });
});

test.each([
  [
    'an invalid serial',
    ['web'],
    2,
    /^"web" is neither a SPIFFE ID nor a serial number in hexadecimal\nsee chancery-ca revoke --help\n$/,
  ],
  ['another trust domain', ['spiffe://b.example/w'], 1, /is not of trust domain cut\.example\n$/],
  [
    'the CA itself',
    [`spiffe://${TRUST_DOMAIN}/chancery/ca`],
    1,
    /the names of the CA are not revoked; revoke its certificate by serial, and it makes another\n$/,
  ],
  [
    'a serial that was never issued',
    ['1234'],
    1,
    /^chancery-ca: no certificate with serial 1234 was issued by this CA: see chancery-ca issued; --force /,
  ],
  ['for no length of time', [ID, '--for', 'long'], 2, /"long" is not a length of time/],
])('revoke of %s is refused', async (_, argv, status, stderr) => {
  expect(await ca.cli('revoke', ...argv, '--reason', 'unspecified')).toEqual({
    status,
    stdout: '',
    stderr: expect.stringMatching(stderr),
  });
});

test('a dry run says what would be cut off, and cuts nothing', async () => {
  const { serial } = await readStatus(agent.socket);
  for (const who of [[ID], [serial], ['--pattern', `spiffe://${TRUST_DOMAIN}/**`]])
    expect(await ca.cli('revoke', ...who, '--reason', 'keyCompromise', '--dry-run')).toEqual(
      ran(
        /^would revoke (id|serial|pattern) \S+ and cut off 1 unexpired certificate and 1 connected agent \(dry run\)\n {2}spiffe:\/\/cut\.example\/w\n$/,
      ),
    );
  expect(await connected()).toBe(1);
  expect((await ca.cli('revocations', '--json')).stdout).toBe('[]\n');
});

test('what matches nothing is said, and made', async () => {
  expect(
    await ca.cli('revoke', '--node', 'tpm/gone', '--reason', 'cessationOfOperation', '--for', '1h'),
  ).toEqual(
    ran(
      /^revocation 1 is in force \(until .*Z\): node tpm\/gone\ncut off 0 unexpired certificates and 0 connected agents\n(1 connected agent has not acknowledged it yet:\n {2}spiffe:\/\/cut\.example\/w \(\S+\)\n)?$/,
      /^warning: no certificate in force and no connected agent matches node tpm\/gone\n$/,
    ),
  );
});

test('an agent is cut off at once, stays out across a restart of the CA, and comes back when it is lifted', async () => {
  expect(await ca.cli('revoke', ID, '--reason', 'keyCompromise')).toEqual(
    ran(
      /^revocation 2 is in force \(no end\): id spiffe:\/\/cut\.example\/w\ncut off 1 .* and 1 connected agent\n/,
    ),
  );
  expect(await connected()).toBe(0);
  await serving.stop('SIGKILL');
  serving = await ca.serve();
  expect(await ca.cli('revocations')).toEqual(
    ran(
      /^NUMBER .*\n1 +node tpm\/gone +cessationOfOperation +uid \d+ .*Z\n2 +id spiffe:\S+ +keyCompromise .* no end\n$/,
    ),
  );
  await vi.waitFor(() => expect(serving.log()).toMatch(/"code":"revoked_peer"/));
  expect(await connected()).toBe(0);
  expect(await ca.cli('unrevoke', '2')).toEqual(
    ran(/^lifted revocation 2: id spiffe:\/\/cut\.example\/w\n$/),
  );
  await vi.waitFor(async () => expect(await connected()).toBe(1));
  expect(await ca.cli('unrevoke', '2')).toMatchObject({
    status: 1,
    stderr: 'chancery-ca: there is no revocation 2 in force\n',
  });
  expect(await ca.cli('unrevoke', 'two')).toMatchObject({ status: 2 });
});

describe('at a gateway', () => {
  const [CALLER, TOOLS] = [`spiffe://${TRUST_DOMAIN}/caller`, `spiffe://${TRUST_DOMAIN}/tools`];
  let server: FakeServer;
  let gateway: AgentFolder;
  let caller: AgentFolder;
  let listening: number;
  const parts: Running[] = [];
  beforeAll(async () => {
    server = await startFakeServer();
    server.say = (seen, res, req) =>
      seen.method === 'GET' ? stream(res, [], true) : politely(seen, res, req);
    const [port, local] = [await freePort(), await freePort()];
    listening = local;
    const identity = (name: string, id: string) => ({ kind: 'Identity', name, platform: 'unix', id });
    await ca.apply([
      identity('w', ID),
      identity('caller', CALLER),
      identity('tools', TOOLS),
      { kind: 'McpServer', name: 'echo', identity: TOOLS, address: `127.0.0.1:${port}` },
      { kind: 'Access', name: 'all', who: [CALLER], servers: ['echo'], tools: { allow: ['*'] } },
    ]);
    const evidence = { unix: {} };
    const { target } = server;
    if (target.kind !== 'url') throw new Error('the server has no URL');
    const upstream = { url: target.url.href };
    const listen = `127.0.0.1:${port}`;
    gateway = makeAgent(ca, 'gateway', {
      evidence,
      id: TOOLS,
      gateway: { server: 'echo', listen, upstream },
    });
    parts.push(await gateway.run('gateway'));
    const connect = [{ server: 'echo', listen: `127.0.0.1:${local}` }];
    caller = makeAgent(ca, 'caller', { evidence, id: CALLER, connect });
    parts.push(await caller.run());
  });
  afterAll(async () => {
    for (const part of parts) await part.stop();
    await server.close();
  });

  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const url = () => `http://127.0.0.1:${listening}/mcp`;
  const call = (method: string, params: object, more = {}) => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
    return fetch(url(), { method: 'POST', headers: { ...headers, ...more }, body });
  };
  /** What connect's client reads of a call: an error, in the call's own answer, or a result. */
  const echo = async (more = {}): Promise<string> =>
    (await call('tools/call', { name: 'echo' }, more)).text();
  const records = (): Record<string, unknown>[] =>
    readFileSync(join(gateway.dir, 'data', 'calls.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));

  const revokedPeers = () => records().filter(({ code }) => code === 'revoked_peer');

  test('M15 an open stream is cut by the command, is on record, and the caller is out until it is lifted', async () => {
    const params = { protocolVersion: '2025-11-25', capabilities: {} };
    const begins = async () => (await call('initialize', params)).text();
    await vi.waitFor(async () => expect(await begins()).toContain('"result"'));
    const begun = await call('initialize', params);
    const session = { 'mcp-session-id': begun.headers.get('mcp-session-id') ?? '' };
    const open = await fetch(url(), { headers: { accept: 'text/event-stream', ...session } });
    const ended = open.text().catch(() => 'cut');
    expect(await echo(session)).toContain('"result"');
    expect((await ca.cli('revoke', CALLER, '--reason', 'privilegeWithdrawn')).status).toBe(0);
    await ended;
    const { serial } = await readStatus(caller.socket);
    expect(revokedPeers()[0]).toMatchObject({
      stage: 'refused',
      caller: CALLER,
      serial,
      detail: expect.stringMatching(/revocation \d+ \(id spiffe:.*privilegeWithdrawn\)$/),
    });
    expect(await echo()).toMatch(/"error":.*this identity is revoked/);
    // The agent that keeps the state is ended without warning: what was revoked is on disk.
    await parts[0]?.stop('SIGKILL');
    await serving.stop('SIGKILL');
    const before = revokedPeers().length;
    parts[0] = await gateway.run('gateway');
    expect(await echo()).toContain('"error"');
    expect(revokedPeers().length).toBeGreaterThan(before);
    serving = await ca.serve();
    const list: { number: number; value: string }[] = JSON.parse(
      (await ca.cli('revocations', '--json')).stdout,
    );
    const made = list.find(({ value }) => value === CALLER);
    expect((await ca.cli('unrevoke', String(made?.number))).status).toBe(0);
    await vi.waitFor(async () => expect(await echo()).toContain('"result"'), {
      timeout: 60_000,
      interval: 100,
    });
  });
});
