/**
 * I183: what disks and files do to a CA that issues without a pause: full, read-only, torn, locked by another process.
 * Nobody has a certificate without a record, the CA says what is wrong, and goes on by itself.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Load, readRecorded, startLoad } from '../kit/observe/load.ts';
import { type CaFolder, makeFolder, type Running, removeFolder, serveUnixCa } from '../kit/processes.ts';

const TRUST_DOMAIN = 'faults.example';
const LOAD = `spiffe://${TRUST_DOMAIN}/load`;
const PATIENCE = { timeout: 60_000, interval: 100 };
const NO_SPACE = /no space left on its disk. Free some; a CA that runs then continues by itself/;
const MEGABYTE = Buffer.alloc(1 << 20);

const mount = (...args: readonly string[]) => execFileSync('mount', args, { stdio: 'pipe' });
const unmount = (path: string) => execFileSync('umount', ['--lazy', path], { stdio: 'pipe' });

/** Undefined if this process may mount a disk of its own. */
function whyNoDisk(): string | undefined {
  const probe = makeFolder();
  try {
    mount('-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', probe);
    unmount(probe);
    return undefined;
  } catch (error) {
    return `no disk can be mounted: ${String(error).split('\n')[0]}`;
  } finally {
    removeFolder(probe);
  }
}
const missing = whyNoDisk();
if (missing !== undefined) console.log(`faults of disks are not tested: ${missing}`);

describe.skipIf(missing !== undefined)('I183', () => {
  let disk: string;
  let ca: CaFolder;
  let serving: Running;
  let load: Load;
  beforeAll(async () => {
    disk = makeFolder();
    mount('-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', disk);
    ({ ca, serving } = await serveUnixCa(join(disk, 'ca'), TRUST_DOMAIN, [
      { kind: 'Identity', name: 'load', platform: 'unix', id: LOAD, x509: { ttl: '1h' } },
    ]));
    load = await startLoad(ca, LOAD, 2);
  });
  afterAll(async () => {
    await load.stop();
    await serving.stop();
    unmount(disk);
    removeFolder(disk);
  });
  const at = (...names: readonly string[]) => join(ca.dir, 'data', ...names);
  const more = async () => {
    const before = load.serials.size;
    await expect.poll(() => load.serials.size, PATIENCE).toBeGreaterThan(before + 5);
  };
  const logged = (from: number) => serving.log().slice(from);
  const verified = () => expect.poll(async () => (await ca.cli('audit', 'verify')).status, PATIENCE).toBe(0);

  test('a disk that is full', async () => {
    await more();
    const [from, refused, ballast] = [serving.log().length, load.refused(), join(disk, 'ballast')];
    // The CA frees and takes some, so what is free is taken until nothing is left for a while.
    const taking = setInterval(() => {
      try {
        for (;;) fs.appendFileSync(ballast, MEGABYTE);
      } catch {
        // Full, for now.
      }
    }, 20);
    try {
      await expect.poll(load.refused, PATIENCE).toBeGreaterThan(refused + 5);
      await expect.poll(() => logged(from), PATIENCE).toMatch(NO_SPACE);
      // Reading goes on.
      expect(await ca.cli('issued')).toMatchObject({ status: 0 });
      expect(
        await ca.cli('revoke', `spiffe://${TRUST_DOMAIN}/other`, '--reason', 'keyCompromise'),
      ).toMatchObject({ status: 1, stderr: expect.stringMatching(NO_SPACE) });
    } finally {
      clearInterval(taking);
      fs.rmSync(ballast);
    }
    await more();
    await verified();
  });

  test('the folder of the audit log on a disk that is read-only', async () => {
    mount('--bind', at('log'), at('log'));
    const from = serving.log().length;
    mount('-o', 'remount,bind,ro', at('log'));
    try {
      await expect.poll(() => logged(from), PATIENCE).toMatch(/read-only file system/i);
      await more();
    } finally {
      unmount(at('log'));
    }
    await more();
    await verified();
  });

  test('a database that another process wants', async () => {
    const other = new DatabaseSync(at('ca.db'));
    expect(() => other.exec('BEGIN IMMEDIATE')).toThrow(/locked/);
    other.close();
    await more();
  });

  test('a database that another process has at the start', async () => {
    await serving.stop();
    const other = new DatabaseSync(at('ca.db'));
    other.exec('BEGIN EXCLUSIVE');
    expect(await ca.cli('serve')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/another process holds it/),
    });
    other.exec('ROLLBACK');
    other.close();
    serving = await ca.serve();
    await more();
  });

  test('a read-only disk at the start', async () => {
    await serving.stop();
    mount('-o', 'remount,ro', disk);
    expect(await ca.cli('serve')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/read-only|readonly|may not write/i),
    });
    mount('-o', 'remount,rw', disk);
    serving = await ca.serve();
    await more();
  });

  test('a write to the last tile that a loss of power has torn', async () => {
    await more();
    await serving.stop('SIGKILL');
    const partial = fs
      .readdirSync(at('log', 'tile'), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.p\/\d+$/.test(name));
    expect(partial.length).toBeGreaterThan(1);
    for (const name of partial) {
      const path = at('log', 'tile', name);
      fs.truncateSync(path, Math.floor(fs.statSync(path).size / 2));
    }
    serving = await ca.serve();
    await more();
    await verified();
  });

  test('leaves everything that anybody got on record', async () => {
    await load.stop();
    await serving.stop();
    const { recorded, logged: entries } = readRecorded(ca);
    expect([...load.serials].filter((serial) => !recorded.has(serial))).toEqual([]);
    expect(recorded).toEqual(entries);
    serving = await ca.serve();
  });
});
