/** I32: the CA is killed in the middle of issuing, again and again, and nothing is lost or unrecorded. */

import { setTimeout as sleep } from 'node:timers/promises';
import { readStatus } from '@chancery/agent/workload/attach.ts';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { readRecorded, startLoad } from '../kit/observe/load.ts';
import {
  type CaFolder,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'crash.example';
const LOAD = `spiffe://${TRUST_DOMAIN}/load`;
const KILLS = 20;
const WORKERS = 8;
/** An agent looks for its CA again within half a minute. */
const PATIENCE = { timeout: 180_000, interval: 200 };

let dir: string;
let ca: CaFolder;
let serving: Running;
beforeAll(async () => {
  dir = makeFolder();
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [
    {
      kind: 'Identity',
      name: 'a-agent',
      platform: 'unix',
      id: `spiffe://${TRUST_DOMAIN}/agent`,
      // Longer than the kills take on a busy machine: the CA is up for moments only, which a renewal may miss.
      x509: { ttl: '1h' },
    },
    { kind: 'Identity', name: 'b-load', platform: 'unix', id: LOAD },
  ]));
});
afterAll(async () => {
  await serving.stop('SIGKILL');
  removeFolder(dir);
});

test(`I32 killed ${KILLS} times under load: every certificate is on record, and the agent carries on`, async () => {
  const agent = makeAgent(ca, 'agent', { evidence: { unix: {} }, id: `spiffe://${TRUST_DOMAIN}/agent` });
  const running = await agent.run();
  const load = await startLoad(ca, LOAD, WORKERS);
  for (let kill = 0; kill < KILLS; kill += 1) {
    // Somewhere in the middle of issuing: after some more certificates than last time.
    const before = load.serials.size;
    while (load.serials.size < before + 5 + kill) await sleep(1);
    await serving.stop('SIGKILL');
    serving = await ca.serve();
  }
  await load.stop();
  await vi.waitFor(async () => expect((await ca.cli('agents')).stdout).toContain('/agent '), PATIENCE);
  expect(await readStatus(agent.socket)).toMatchObject({ expired: false });
  await running.stop();
  await serving.stop('SIGKILL');
  const { recorded, logged } = readRecorded(ca);
  expect([...load.serials].filter((serial) => !recorded.has(serial))).toEqual([]);
  // One transaction each: a record without its audit entry, or the other way round, cannot be.
  expect(recorded).toEqual(logged);
  expect(load.serials.size).toBeGreaterThan(KILLS * 5);
  serving = await ca.serve();
}, 1_200_000);
