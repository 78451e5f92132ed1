/**
 * Two hundred whole agents in four processes, and calls that never pause: the CA is killed at each step of a rotation,
 * a rotation is taken back from each state, and the root is stolen while half of the agents sleep.
 */
import { watch } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { Members } from '../kit/observe/fleet/members.ts';
import { startUnpaused, type Unpaused } from '../kit/observe/unpaused.ts';
import { makeFolder, removeFolder } from '../kit/processes.ts';

const TRUST_DOMAIN = 'fleet.example';
const FLEET = 198;
const ALL = FLEET + 2;
/** A renewal has half of this for its tries while the CA is killed, and the old root goes after it. */
const TTL = '2m';
const PATIENCE = { timeout: 300_000, interval: 1_000 };

let dir: string;
let members: Members;
let world: Unpaused;
beforeAll(async () => {
  dir = makeFolder();
  members = await Members.start(4);
  const attestors = { unix: {}, oidc: members.attestors(TRUST_DOMAIN) };
  const limits = { attestationsPerSecond: 10_000, attestationBurst: 10_000 };
  const resources = members.identities(TRUST_DOMAIN, TTL);
  world = await startUnpaused(dir, TRUST_DOMAIN, TTL, { config: { attestors, limits }, resources });
  await members.join(world.ca, FLEET);
  await everybody();
}, 600_000);
afterAll(async () => {
  await members.close();
  await world.stop();
  removeFolder(dir);
}, 300_000);

interface Listed {
  readonly spiffeId: string;
  readonly notAcknowledged: readonly string[] | null;
}
const listed = async () => JSON.parse((await world.ca.cli('agents', '--json')).stdout) as readonly Listed[];

/** All agents are connected, under certificates that are good now, and have the bundle in force. */
const everybody = () =>
  vi.waitFor(async () => {
    const agents = await listed();
    expect(new Set(agents.map(({ spiffeId }) => spiffeId)).size).toBe(ALL);
    const behind = agents.filter(({ notAcknowledged }) => notAcknowledged?.includes('bundle') !== false);
    expect(behind.map(({ spiffeId }) => spiffeId)).toEqual([]);
  }, PATIENCE);
const stage = async () => (await world.status()).stage;
const serialOf = async (state: string) =>
  (await world.status()).roots.find((each) => each.state === state)?.serial ?? '';

/** Kills the CA at the n-th change of its folder of keys, which each write of an authority changes, and restarts it. */
async function killed(change: number, ...args: readonly string[]): Promise<void> {
  let left = change;
  const watcher = watch(join(dir, 'data', 'keys'), () => {
    left -= 1;
    if (left === 0) world.serving.child.kill('SIGKILL');
  });
  await world.rotate(...args);
  watcher.close();
  await world.serving.stop('SIGKILL');
  world.serving = await world.ca.serve();
}

/** Steps as long as there are any, as `--auto` does. */
const untilIdle = () =>
  vi.waitFor(async () => {
    const { stage: at, waits } = await world.status();
    if (at !== 'idle' && waits.length === 0) await world.rotate('next', '--yes');
    expect(await stage()).toBe('idle');
  }, PATIENCE);

test('the CA is killed at each step of a rotation: no call fails, and no agent is left behind', async () => {
  const before = await serialOf('active');
  await killed(1);
  if ((await stage()) === 'idle') await world.rotate();
  await everybody();
  for (const change of [1, 4]) if ((await stage()) !== 'retiring') await killed(change, 'next');
  await vi.waitFor(async () => {
    if ((await stage()) !== 'retiring') await world.rotate('next');
    expect(await stage()).toBe('retiring');
  }, PATIENCE);
  await vi.waitFor(async () => expect((await world.status()).waits).toEqual([]), PATIENCE);
  await killed(1, 'next', '--yes');
  await untilIdle();
  await everybody();
  expect(await serialOf('active')).not.toBe(before);
  expect(world.calls.failed).toEqual([]);
}, 900_000);

test('taken back from each state: no call and no renewal fails, and the root of before signs', async () => {
  const before = await serialOf('active');
  const failures = await members.failures();
  await world.rotate();
  await everybody();
  expect(await world.rotate('rollback')).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^idle: /),
  });
  await world.rotate();
  await vi.waitFor(async () => expect((await world.rotate('next')).status).toBe(0), PATIENCE);
  expect(await stage()).toBe('retiring');
  expect(await world.rotate('rollback')).toMatchObject({ status: 0 });
  expect(await serialOf('active')).toBe(before);
  await untilIdle();
  await everybody();
  expect(world.calls.failed).toEqual([]);
  expect(await members.failures()).toEqual(failures);
}, 900_000);

test('the root is stolen while half of the agents sleep: all come back by themselves', async () => {
  const stolen = await serialOf('active');
  const half = members.freezeHalf();
  try {
    const done = await world.ca.cli('taint', stolen, '--reason', 'a drill', '--yes');
    expect(done).toMatchObject({ status: 0 });
    expect(await serialOf('active')).not.toBe(stolen);
  } finally {
    half.wake();
  }
  await everybody();
  expect(await serialOf('active')).not.toBe(stolen);
}, 900_000);
