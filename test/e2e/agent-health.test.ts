/** An agent's health port and status, in a real process: well, and after its identity is revoked. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import {
  AGENT_MAIN,
  type AgentFolder,
  type CaFolder,
  freePort,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  runProgram,
  serveUnixCa,
} from '../kit/processes.ts';

const DOMAIN = 'health.example';
const ID = `spiffe://${DOMAIN}/w`;

let ca: CaFolder;
let agent: AgentFolder;
let port: number;
const running: Running[] = [];
beforeAll(async () => {
  const identity = { kind: 'Identity', name: 'w', platform: 'unix', id: ID };
  const served = await serveUnixCa(makeFolder(), DOMAIN, [identity]);
  ca = served.ca;
  running.push(served.serving);
  port = await freePort();
  agent = makeAgent(ca, 'agent', { evidence: { unix: {} }, http: `127.0.0.1:${port}` });
  running.push(await agent.run());
});
afterAll(async () => {
  for (const each of running.toReversed()) await each.stop();
  removeFolder(ca.dir);
});

async function get(path: string) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return { status: response.status, body: await response.text() };
}

test('an agent that cannot join yet says why, on its health port, in status and in doctor', async () => {
  const waiting = await freePort();
  const other = makeAgent(ca, 'other', {
    evidence: { unix: {} },
    http: `127.0.0.1:${waiting}`,
    id: `spiffe://${DOMAIN}/none`,
  });
  // It prints no line before it has joined.
  const child = spawn('setpriv', [
    '--pdeathsig',
    'TERM',
    process.execPath,
    AGENT_MAIN,
    'run',
    '-c',
    other.config,
  ]);
  const gone = once(child, 'exit');
  const ready = async () => (await fetch(`http://127.0.0.1:${waiting}/readyz`)).text();
  await vi.waitFor(async () =>
    expect(await ready()).toMatch(/^not joined yet: the CA refused .*\(reference [0-9a-f]{8}\)\n$/),
  );
  expect((await fetch(`http://127.0.0.1:${waiting}/healthz`)).status).toBe(200);
  expect(await other.cli('status')).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(/^PROBLEM +not joined yet: the CA refused/),
  });
  expect(await other.cli('doctor')).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(/^agent\n {2}no .*not joined yet/m),
  });
  child.kill();
  expect(await gone).toEqual([0, null]);
});

test('an agent tells its health, its metrics and what needs a person', async () => {
  expect(await get('/readyz')).toEqual({ status: 200, body: 'ready\n' });
  await vi.waitFor(async () => expect((await get('/metrics')).body).toMatch(/^chancery_trust_stream_up 1$/m));
  expect((await get('/metrics')).body).toMatch(/^chancery_problems 0$/m);
  expect(await agent.cli('status')).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^CA +heard since /m),
  });
  expect((await agent.cli('doctor')).stdout).toMatch(/^agent\n {2}yes .*health\.example\/w, no problems$/m);

  expect(await ca.cli('revoke', ID, '--reason', 'keyCompromise')).toMatchObject({ status: 0 });
  await vi.waitFor(async () => expect(await get('/readyz')).toMatchObject({ status: 503 }));
  expect((await get('/healthz')).status).toBe(200);
  const { status, stdout } = await agent.cli('status');
  expect(status).toBe(1);
  expect(stdout).toMatch(/^PROBLEM +this identity is revoked: /m);
  expect(await agent.cli('doctor')).toMatchObject({ status: 1 });
});

test('a gateway whose port is taken ends before it joins, and names the line and the process', async () => {
  const holder = net.createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const listen = `127.0.0.1:${(holder.address() as net.AddressInfo).port}`;
  const gateway = { server: 'notes', listen, upstream: { url: 'http://127.0.0.1:1/mcp' } };
  const issued = async () => JSON.parse((await ca.cli('issued', '--json')).stdout).length;
  const before = await issued();
  const { status, stderr } = await makeAgent(ca, 'taken', { evidence: { unix: {} }, gateway }).cli('run');
  expect(status).toBe(1);
  expect(stderr).toMatch(
    new RegExp(`agent\\.yaml:\\d+: gateway\\.listen: cannot listen on ${listen}: .*, pid ${process.pid}\\n$`),
  );
  expect(await issued()).toBe(before);
  holder.close();
}, 60_000);

test('a gateway whose roots for its server are missing ends before it asks the CA', async () => {
  const upstream = { url: 'https://localhost:1/mcp', roots: 'none.pem' };
  const gateway = { server: 'w', listen: '127.0.0.1:1', upstream };
  // The CA would let it wait: nothing gives it this ID.
  const id = `spiffe://${DOMAIN}/none`;
  const { config } = makeAgent(ca, 'rootless', { evidence: { unix: {} }, id, gateway });
  const { status, stderr } = await runProgram(AGENT_MAIN, ['run', '--config', config]);
  expect(stderr).toMatch(/none\.pem: no such file/);
  expect(status).not.toBe(0);
});
