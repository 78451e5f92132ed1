/** An agent in a process whose clock is behind the CA's: it joins with the certificate that it gets, and says why it waits. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { readStatus } from '../kit/observe/status.ts';
import {
  type AgentFolder,
  type CaFolder,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';
import { FAKETIME, whyNoFaketime } from '../kit/time/faketime.ts';

const TRUST_DOMAIN = 'behind.example';
const ID = `spiffe://${TRUST_DOMAIN}/w`;
const BEHIND = 25;
const WAIT = { timeout: 90_000, interval: 50 };

const dir = makeFolder();
let ca: CaFolder;
let serving: Running;
let agent: AgentFolder;
let running: Running | undefined;

beforeAll(async () => {
  const identity = { kind: 'Identity', name: 'w', platform: 'unix', id: ID };
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [identity]));
});
afterAll(async () => {
  await running?.stop();
  await serving.stop();
  removeFolder(dir);
});

test('I332 it joins once, and agent and CA say by how much its clock is behind', async ({ skip }) => {
  const missing = whyNoFaketime();
  skip(missing !== undefined, missing);
  agent = makeAgent(ca, 'agent', { evidence: { unix: {} } });
  for (const [name, value] of Object.entries({
    LD_PRELOAD: FAKETIME,
    FAKETIME: `-${BEHIND}s`,
    NO_FAKE_STAT: '1',
  }))
    vi.stubEnv(name, value);
  const starting = agent.run();
  vi.unstubAllEnvs();
  const waits =
    /^not joined yet: this machine's clock is 2[3-7] s behind the CA's: the certificate is not valid/;
  await vi.waitFor(() => expect(readStatus(agent.socket)).rejects.toThrow(waits), WAIT);
  running = await starting;
  expect((await readStatus(agent.socket)).spiffeId).not.toBeNull();
  expect(running.log()).toMatch(/this machine's clock is 2[3-7] s behind the CA's: set the clock/);
  expect(serving.log()).toMatch(/the agent's clock is 2[3-7] s behind this CA's/);
  const { stdout } = await ca.cli('audit', 'query', '--text', 'svid.issuing');
  expect(stdout.split('\n').filter((line) => line.includes(ID))).toHaveLength(1);
});
