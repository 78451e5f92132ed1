/**
 * Rotations of the root that last: two in a row, a CA that is down for a week in the middle, everything expired. Real
 * processes whose clock is moved, under calls that never pause.
 */
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { startUnpaused, type Unpaused } from '../kit/observe/unpaused.ts';
import { certificatesIn, makeFolder, removeFolder } from '../kit/processes.ts';
import { type MovedTime, moveTime, whyNoFaketime } from '../kit/time/faketime.ts';

const PATIENCE = { timeout: 120_000, interval: 100 };
const WEEK = 7 * 86_400;
const missing = whyNoFaketime();
if (missing !== undefined) console.log(`rotations that last are not tested: ${missing}`);

describe.skipIf(missing !== undefined)('a rotation that lasts', () => {
  let dir: string;
  let time: MovedTime;
  let world: Unpaused;
  beforeAll(async () => {
    dir = makeFolder();
    time = moveTime(dir);
    world = await startUnpaused(dir, 'long.example', '20s');
  });
  afterAll(async () => {
    await world.stop();
    time.end();
    removeFolder(dir);
  });

  const outOf = (name: 'gateway' | 'caller', file: string) => join(world.folders[name].dir, 'out', file);
  const ends = () =>
    (['gateway', 'caller'] as const).map((name) =>
      new X509Certificate(readFileSync(outOf(name, 'svid.pem'))).validToDate.getTime(),
    );

  /** Calls are answered, and both agents have a certificate of now under the roots of now and no others. */
  async function expectBack(): Promise<void> {
    const before = world.calls.answered;
    await vi.waitFor(async () => {
      const bundle = certificatesIn((await world.ca.cli('bundle')).stdout);
      for (const name of ['gateway', 'caller'] as const) {
        expect(readFileSync(outOf(name, 'bundle.pem'), 'latin1')).toBe(bundle);
        const svid = outOf(name, 'svid.pem');
        execFileSync('openssl', ['verify', '-CAfile', outOf(name, 'bundle.pem'), '-untrusted', svid, svid], {
          stdio: 'pipe',
        });
      }
      expect(world.calls.answered).toBeGreaterThan(before + 5);
    }, PATIENCE);
  }

  /** The CA ends, both certificates with it, and a week passes for everybody. */
  async function downForAWeek(): Promise<void> {
    await world.serving.stop();
    const [first, last] = ends().toSorted() as [number, number];
    await vi.waitUntil(() => time.now().getTime() > first - 2_000, PATIENCE);
    expect(world.calls.failed).toEqual([]);
    await vi.waitUntil(() => time.now().getTime() > last + 2_000, PATIENCE);
    time.pass(WEEK);
    const { answered } = world.calls;
    // What has ended opens nothing.
    await expect.poll(() => world.calls.failed.length, PATIENCE).toBeGreaterThan(20);
    expect(world.calls.answered).toBe(answered);
  }

  /** As an operator's loop of `rotate next`. Resolves when the root of before is gone. */
  async function finished(): Promise<void> {
    await vi.waitFor(async () => {
      const { stage, waits } = await world.status();
      if (stage !== 'idle' && waits.length === 0) await world.rotate('next', '--yes');
      expect((await world.status()).stage).toBe('idle');
    }, PATIENCE);
  }

  test('two in a row: the second waits for the first, and begins in the moment in which that ends', async () => {
    const [before] = (await world.status()).roots;
    await world.rotate();
    await vi.waitFor(async () => expect((await world.rotate('next')).status).toBe(0), PATIENCE);
    const { waits } = await world.status();
    expect(waits).toEqual([
      expect.stringMatching(/^\d+ unexpired certificates? under the retiring root; the last ends at /),
    ]);
    expect(await world.rotate()).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/a rotation is under way \(retiring\)/),
    });
    await finished();
    const [middle] = (await world.status()).roots;
    expect(await world.rotate()).toMatchObject({ status: 0 });
    expect(await world.rotate('--auto')).toMatchObject({ status: 0 });
    const [after] = (await world.status()).roots;
    expect(new Set([before, middle, after].map((each) => each?.serial)).size).toBe(3);
    await expectBack();
    expect([world.calls.failed, world.failedRenewals()]).toEqual([[], []]);
  }, 300_000);

  test('a CA that is down for a week while a root is published, and for another one while it retires', async () => {
    await world.rotate();
    for (const stage of ['published', 'retiring']) {
      world.calls.failed.length = 0;
      expect((await world.status()).stage).toBe(stage);
      await downForAWeek();
      world.serving = await world.ca.serve();
      expect((await world.status()).stage).toBe(stage);
      await expectBack();
      world.calls.failed.length = 0;
      if (stage === 'published')
        await vi.waitFor(async () => expect((await world.rotate('next')).status).toBe(0), PATIENCE);
    }
    await finished();
    await expectBack();
    expect(world.calls.failed).toEqual([]);
  }, 300_000);

  test('a whole rotation in the moment in which the CA is back, and every certificate has ended', async () => {
    const [before] = (await world.status()).roots;
    world.calls.failed.length = 0;
    await downForAWeek();
    world.serving = await world.ca.serve();
    expect(await world.rotate('--auto', '--older-than', '1d')).toMatchObject({ status: 0 });
    expect((await world.status()).roots[0]?.serial).not.toBe(before?.serial);
    await expectBack();
  }, 300_000);

  test('the same while both agents stand still: they find another root, and come back by its voucher', async () => {
    world.calls.failed.length = 0;
    await downForAWeek();
    for (const { child } of world.agents) child.kill('SIGSTOP');
    world.serving = await world.ca.serve();
    expect(await world.rotate('--auto', '--older-than', '1d')).toMatchObject({ status: 0 });
    for (const { child } of world.agents) child.kill('SIGCONT');
    await expectBack();
  }, 300_000);

  test('no authority went while an unexpired certificate of others was under it, by what is on record', async () => {
    await world.stop();
    const db = new DatabaseSync(join(dir, 'data', 'ca.db'));
    const roots = db
      .prepare("SELECT serial FROM authorities WHERE state = 'removed' AND kind = 'root'")
      .all();
    const early = db
      .prepare(
        `SELECT id, certificates.not_after, moved_at FROM certificates JOIN authorities ON issuer = authorities.serial
         WHERE state = 'removed' AND platform <> 'self' AND certificates.not_after > moved_at`,
      )
      .all();
    db.close();
    expect(roots).toHaveLength(5);
    expect(early).toEqual([]);
  });
});
