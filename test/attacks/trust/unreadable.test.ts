/** A policy that an agent cannot read, from a CA that it trusts: row I77. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startAgent } from '@chancery/agent/agent.ts';
import { type AgentSettings, paths } from '@chancery/agent/config/schema.ts';
import { statusOf } from '@chancery/agent/status.ts';
import { loadKnownGood } from '@chancery/agent/trust/state/last-known-good.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { decideServer } from '@chancery/shared/policy/decide.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../../kit/ca/ca.ts';
import { withMemoryKeys } from '../../kit/observe/agent.ts';

const ID = parseSpiffeId(`spiffe://${TRUST_DOMAIN}/workload`);
const identity = { kind: 'Identity', name: 'workload', platform: 'unix', id: ID, x509: { ttl: '10m' } };
const server = { kind: 'McpServer', name: 'files', identity: ID, address: 'files.internal:8443' };
const access = {
  kind: 'Access',
  name: 'all',
  who: [ID],
  servers: ['files'],
  tools: { allow: ['*'], deny: [] },
};

let ca: TestCa;
let ends: (() => Promise<void>)[];
beforeEach(async () => {
  ca = await startTestCa({ limits: { attestationsPerSecond: 1000, attestationBurst: 1000 } });
  await ca.apply(identity, server, access);
  ends = [];
});
afterEach(async () => {
  for (const end of ends) await end();
  await ca.close();
});

async function start() {
  const bundle = join(ca.dir, 'bundle.pem');
  writeFileSync(bundle, ca.bundle.authorities.map((der) => writePem('CERTIFICATE', der)).join(''));
  const settings: AgentSettings = {
    trustDomain: parseTrustDomain(TRUST_DOMAIN),
    ca: { address: `127.0.0.1:${ca.running.port}`, bundle, socket: ca.joinSocket },
    evidence: { unix: {} },
    dataDir: join(ca.dir, 'agent'),
    outputs: [],
    connect: [],
    logLevel: 'error',
  };
  const deps = { clock: ca.clock, random: () => 0.5, randomBytes, log: silentLog, env: {}, version: 'test' };
  const agent = withMemoryKeys(await startAgent(settings, deps, AbortSignal.timeout(60_000)));
  ends.push(() => agent.close());
  const known = { agent, settings: { gateway: undefined, connect: [] }, clock: ca.clock, version: 'test' };
  return { agent, problems: () => statusOf(known).problems, state: paths(settings.dataDir).state };
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}

/** What the agents have acknowledged on their streams, in order. */
async function acknowledged() {
  const events = await ca.store.events(0, 100_000);
  return events.flatMap(({ event }) => (event.type === 'agent.acknowledged' ? [event] : []));
}

/** The next run of this CA has it in force. */
async function storeUnreadable(): Promise<void> {
  const stored: readonly object[] = JSON.parse((await ca.store.registry())?.resources ?? '[]');
  const resources = JSON.stringify(
    stored.map((each) => ('who' in each ? { ...each, later: 'never' } : each)),
  );
  await ca.store.saveRegistry(
    { version: 2, resources },
    { type: 'registry.applied', version: 2, changes: [], by: 'test' },
  );
  ca = await ca.restarted();
}

test('I77 a policy with an unknown key leaves the one before in force, keeps no bundle out, and is a problem in the status', async () => {
  const first = await start();
  await until(async () => (await acknowledged()).length > 0);
  expect(first.problems()).toEqual([]);
  await first.agent.close();
  await storeUnreadable();
  const before = (await acknowledged()).length;

  const { agent, problems, state } = await start();
  await until(async () => (await acknowledged()).length > before);
  const [bundle, policy] = [agent.bundle.current(), agent.trust.policy.current()];
  expect((await acknowledged()).at(-1)).toMatchObject({ bundle: Number(bundle.sequence), policy: 0 });
  expect(policy.version).toBe(1n);
  expect(decideServer(policy, { caller: ID }, 'files').allow).toBe(true);
  expect(loadKnownGood(state)).toMatchObject({ policy: { version: 1n } });
  const says =
    /^the agent could not take all that the CA sent: the policy is not taken and the one before stays in force: .*later/;
  expect(problems()).toEqual([expect.stringMatching(says)]);

  await ca.apply(identity, server);
  await until(() => problems().length === 0);
  expect(agent.trust.policy.current().version).toBe(3n);
});
