/** An agent's health port and status, in a real process: well, and after its identity is revoked. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import {
  type AgentFolder,
  type CaFolder,
  freePort,
  makeAgent,
  makeCa,
  makeFolder,
  type Running,
  removeFolder,
} from '../kit/processes.ts';

const DOMAIN = 'health.example';
const ID = `spiffe://${DOMAIN}/w`;

let ca: CaFolder;
let agent: AgentFolder;
let port: number;
const running: Running[] = [];
beforeAll(async () => {
  ca = await makeCa(makeFolder(), DOMAIN, { attestors: { unix: {} } });
  running.push(await ca.serve());
  await ca.apply([{ kind: 'Identity', name: 'w', platform: 'unix', id: ID }]);
  await ca.saveBundle();
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
