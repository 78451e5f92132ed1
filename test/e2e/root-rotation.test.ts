/** The root rotated as an operator does it: real processes under calls that never pause, and a CA that is killed. */
import { watch } from 'node:fs';
import { join } from 'node:path';
import { readPem } from '@chancery/shared/der/pem.ts';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startUnpaused, type Unpaused } from '../kit/observe/unpaused.ts';
import { makeFolder, removeFolder } from '../kit/processes.ts';

let dir: string;
let world: Unpaused;
beforeAll(async () => {
  dir = makeFolder();
  // Half of this is what a renewal has for its retries while the CA is killed.
  world = await startUnpaused(dir, 'turn.example', '40s');
});
afterAll(async () => {
  await world.stop();
  removeFolder(dir);
});

const rotate = (...args: readonly string[]) => world.rotate(...args);
const statusOf = () => world.status();
const rootsOf = async () => readPem((await world.ca.cli('bundle')).stdout, 'CERTIFICATE', 'bundle').length;

/** Makes steps as long as there are any, as `--auto` does, whatever is killed meanwhile. */
async function untilIdle(): Promise<void> {
  await vi.waitFor(async () => {
    const { stage, waits } = await statusOf();
    if (stage !== 'idle' && waits.length === 0) await rotate('next', '--yes');
    expect((await statusOf()).stage).toBe('idle');
  }, 120_000);
}

test('a whole rotation by one command: no call fails, no renewal fails', async () => {
  const [before] = (await statusOf()).roots;
  const { calls } = world;
  const { answered } = calls;
  const done = await rotate('--auto');
  expect(done).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^made: .*removes the retiring root.*\nidle: no rotation is under way\n/),
  });
  expect(done.stderr).toMatch(/^published \[.*\nretiring \[\.*\] \d+ certificates .*/m);
  const { roots } = await statusOf();
  expect(roots).toMatchObject([{ state: 'active' }, { state: 'standby' }]);
  expect(roots[0]?.serial).not.toBe(before?.serial);
  expect(await rootsOf()).toBe(2);
  expect(calls.answered).toBeGreaterThan(answered);
  expect([calls.failed, world.failedRenewals()]).toEqual([[], []]);
});

/** Kills the CA at the n-th change of its folder of keys, which each write of an authority changes, and restarts it. */
async function killed(change: number, ...args: readonly string[]): Promise<void> {
  let left = change;
  const watcher = watch(join(dir, 'data', 'keys'), () => {
    left -= 1;
    if (left === 0) world.serving.child.kill('SIGKILL');
  });
  await rotate(...args);
  watcher.close();
  await world.serving.stop('SIGKILL');
  world.serving = await world.ca.serve();
}

test('a second one in which the CA is killed in each step: it goes on, and no call fails', async () => {
  const begun = await statusOf();
  for (const change of [1, 4]) if ((await statusOf()).stage === 'idle') await killed(change);
  // What was killed before its root was published goes on by the same command, and by the next step.
  if ((await statusOf()).stage === 'idle') await rotate();
  for (const change of [1, 4]) if ((await statusOf()).stage !== 'retiring') await killed(change, 'next');
  await vi.waitFor(async () => {
    if ((await statusOf()).stage !== 'retiring') await rotate('next');
    expect((await statusOf()).waits).toEqual([]);
  });
  const unasked = await rotate('next');
  expect(unasked).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/cannot be taken back.*--yes\n$/),
  });
  expect((await statusOf()).stage).toBe('retiring');
  await killed(1, 'next', '--yes');
  await untilIdle();
  const { roots } = await statusOf();
  expect(roots.map(({ serial }) => serial)).not.toEqual(begun.roots.map(({ serial }) => serial));
  expect(await rootsOf()).toBe(2);
  expect(world.calls.failed).toEqual([]);
}, 300_000);

test('rolled back from each state, no call fails, and the root is the one of before', async () => {
  const [before] = (await statusOf()).roots;
  await rotate();
  expect(await rotate('rollback')).toMatchObject({ status: 0, stdout: expect.stringMatching(/^idle: /) });
  expect(await rotate('rollback')).toMatchObject({
    status: 1,
    stderr: 'chancery-ca: no rotation is under way: chancery-ca rotate begins one\n',
  });
  await rotate();
  await vi.waitFor(async () => expect((await rotate('next')).status).toBe(0));
  expect((await statusOf()).stage).toBe('retiring');
  await rotate('rollback');
  expect(await statusOf()).toMatchObject({ stage: 'retiring', roots: [{ serial: before?.serial }, {}, {}] });
  await untilIdle();
  expect((await statusOf()).roots).toMatchObject([{ serial: before?.serial, state: 'active' }, {}]);
  expect(world.calls.failed).toEqual([]);
}, 300_000);
