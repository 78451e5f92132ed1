/** Two agents on one dataDir: row I78. */
import { randomBytes } from 'node:crypto';
import { unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readAgentConfig } from '@chancery/agent/config/read.ts';
import { paths } from '@chancery/agent/config/schema.ts';
import { runAgent } from '@chancery/agent/run.ts';
import { readStatus } from '@chancery/agent/workload/attach.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../../kit/ca/ca.ts';
import { agentCli, ownUid } from '../../kit/observe/agent-cli.ts';

const ID = parseSpiffeId(`spiffe://${TRUST_DOMAIN}/workload`);

let ca: TestCa;
let closing: (() => Promise<void>)[];
beforeEach(async () => {
  closing = [];
  ca = await startTestCa({});
  await ca.apply({ kind: 'Identity', name: 'workload', platform: 'unix', id: ID });
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await ca.close();
});

test('I78 no second agent starts on a dataDir, and connect does not join there, though the socket was removed', async () => {
  writeFileSync(
    join(ca.dir, 'bundle.pem'),
    ca.bundle.authorities.map((der) => writePem('CERTIFICATE', der)).join(''),
  );
  const file = join(ca.dir, 'agent.yaml');
  const address = `127.0.0.1:${ca.running.port}`;
  const trusted = { address, bundle: 'bundle.pem', socket: ca.joinSocket };
  const config = { trustDomain: TRUST_DOMAIN, ca: trusted, evidence: { unix: {} }, dataDir: 'agent' };
  writeFileSync(file, stringify(config));
  const settings = readAgentConfig(file);
  const run = async (): Promise<void> => {
    const own = { ownUid, ownPid: process.pid, platform: process.platform, signalProcess: () => {}, env: {} };
    const deps = { ...own, clock: ca.clock, random: () => 0.5, randomBytes, log: silentLog, version: 'test' };
    const running = await runAgent(settings, deps, AbortSignal.timeout(120_000));
    closing.push(() => running.close());
  };
  const { socket } = paths(settings.dataDir);
  await run();
  unlinkSync(socket);

  const says = `another process (pid ${process.pid}) uses ${settings.dataDir}: `;
  const message = `${says}one agent uses a dataDir at a time`;
  await expect(run()).rejects.toMatchObject({ code: 'unavailable', message });
  const { status, err } = await agentCli(['connect', 'files', '--config', file]);
  expect([status, err]).toEqual([1, expect.stringContaining(`${says}that agent has no agent.sock`)]);

  for (const close of closing.splice(0)) await close();
  await run();
  expect(await readStatus(socket)).toMatchObject({ spiffeId: ID });
});
