/** Two hours of rotation on a clock that is moved, with a real CA, a real agent and real TLS. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type MemoryKeyAgent, startAgent } from '@chancery/agent/agent.ts';
import type { AgentSettings } from '@chancery/agent/config/schema.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../kit/ca/ca.ts';
import { withMemoryKeys } from '../kit/observe/agent.ts';
import { seeded } from '../kit/random.ts';

const TTL_SECONDS = 300;
const STEP_SECONDS = 20;
const spread = seeded(7);
let ca: TestCa;
let agent: MemoryKeyAgent;
const stop = new AbortController();
beforeAll(async () => {
  ca = await startTestCa({});
  await ca.apply({
    kind: 'Identity',
    name: 'w',
    platform: 'unix',
    id: `spiffe://${TRUST_DOMAIN}/w`,
    x509: { ttl: '5m' },
  });
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
  const deps = {
    clock: ca.clock,
    random: () => spread.int(1000) / 1000,
    randomBytes,
    log: silentLog,
    env: {},
    version: 'test',
  };
  agent = withMemoryKeys(await startAgent(settings, deps, stop.signal));
});
afterAll(async () => {
  stop.abort();
  await agent.close();
  await ca.close();
});

test('two hours: always a good certificate, renewed at half of life, never the same key twice', async () => {
  const rotations: Date[] = [];
  const keys = new Set<string>();
  agent.svid.onChange(({ key }) => {
    rotations.push(ca.clock.now());
    keys.add(key.export({ type: 'pkcs8', format: 'pem' }).toString());
  });
  for (let seconds = 0; seconds < 7200; seconds += STEP_SECONDS) {
    ca.clock.move(STEP_SECONDS);
    await untilNotDue();
    expect(agent.svid.current().notAfter.getTime()).toBeGreaterThan(ca.clock.now().getTime());
  }
  const gaps = rotations
    .slice(1)
    .map((time, index) => (time.getTime() - (rotations[index]?.getTime() ?? 0)) / 1000);
  // Half of life, a tenth of life of spread either way, and the step that we look in.
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(TTL_SECONDS / 2 - 31 - STEP_SECONDS);
  expect(Math.max(...gaps)).toBeLessThanOrEqual(TTL_SECONDS / 2 + 31 + 2 * STEP_SECONDS);
  expect(keys.size).toBe(rotations.length);
  expect((await ca.refusals()).map(({ code }) => code)).toEqual([]);
  const { length: recorded } = (await ca.store.issued({ limit: 1000 })).filter(
    ({ identity }) => identity === 'w',
  );
  expect(recorded).toBe(rotations.length + 1);
});

/** Until the agent has done what the new time asks of it, and its newest certificate is the one on the stream. */
async function untilNotDue(): Promise<void> {
  const latest = () => agent.svid.current().renewAfter.getTime() + 0.1 * (TTL_SECONDS + 10) * 1000;
  while (latest() < ca.clock.now().getTime()) await new Promise((resolve) => setImmediate(resolve));
  const followed = async () => {
    const [until, ...more] = await ca.agentsUntil();
    return more.length === 0 && until === agent.svid.current().notAfter.getTime() / 1000;
  };
  while (!(await followed())) await new Promise((resolve) => setImmediate(resolve));
}
