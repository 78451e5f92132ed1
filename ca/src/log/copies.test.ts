import { generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import promises from 'node:fs/promises';
import { join } from 'node:path';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { openCheckpoint, signCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import { noteKey } from '@chancery/shared/tlog/note.ts';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { memoryStore } from '../../../test/kit/store/memory-store.ts';
import type { Store } from '../store/store.ts';
import { Copies } from './copies/folder.ts';
import { logFiles } from './log-files.ts';
import { Sequencer } from './sequencer.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const verifier = noteKey('test.example/chancery/log', publicKey);
const key = { privateKey, verifier };

let folder: string;
let elsewhere: string;
let clock: ManualClock;
const stores: Store[] = [];
beforeEach(() => {
  folder = makeFolder();
  elsewhere = join(folder, 'copies');
  fs.mkdirSync(elsewhere);
  clock = new ManualClock(NOW);
});
afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()));
  removeFolder(folder);
});

/** A CA of its own database and files; all of them copy to one folder. */
async function aLife(name: string) {
  const store = await memoryStore(clock);
  stores.push(store);
  const log = { ...silentLog, error: vi.fn() };
  const copies = new Copies({ folder: elsewhere, everySeconds: 60, store, verifier, clock, log });
  const sequencer = new Sequencer({ store, files: logFiles(join(folder, name)), key, clock, log, copies });
  const append = async (count: number) => {
    for (let n = 0; n < count; n += 1)
      await store.append({ type: 'operator.acting', verb: 'apply', about: `${name} ${n}`, by: 'uid 0' });
  };
  const newest = async () => {
    const checkpoint = await store.checkpoint();
    if (checkpoint === undefined) throw new Error('no checkpoint');
    return checkpoint;
  };
  const grow = async (count: number) => {
    await append(count);
    await sequencer.step();
    await copies.keep(await newest());
  };
  return { store, copies, sequencer, append, newest, grow, log };
}

const copyOf = (size: number): string => join(elsewhere, `${size}.checkpoint`);

test('I325 a folder that is away is failing at once, and no longer when it answers, also without a new checkpoint', async () => {
  const { copies, grow, newest, log } = await aLife('one');
  await grow(3);
  expect(copies.isFailing).toBe(false);
  fs.renameSync(elsewhere, `${elsewhere}-away`);
  await copies.compare();
  expect(copies.isFailing).toBe(true);
  await copies.keep(await newest());
  expect([copies.isFailing, log.error.mock.calls.length]).toEqual([true, 1]);
  fs.renameSync(`${elsewhere}-away`, elsewhere);
  await copies.keep(await newest());
  expect([copies.isFailing, copies.uncopiedSeconds()]).toEqual([false, 0]);
});

test('I115 a database from a backup signs nothing in place of what a copy has', async () => {
  await (await aLife('one')).grow(20);
  const copy = fs.readFileSync(copyOf(20));
  const restored = await aLife('restored');
  for (const count of [5, 15, 10]) {
    await restored.append(count);
    await expect(restored.sequencer.step()).rejects.toThrow(
      refusal(
        'tlog',
        /^the copy 20\.checkpoint in .* has 20 entries and the database 0: the database is older\. Put/,
      ),
    );
  }
  expect(await restored.store.checkpoint()).toBeUndefined();
  expect(fs.readFileSync(copyOf(20))).toEqual(copy);
});

test('I306 a database that was restored with the log goes on, with copies newer than its backup', async () => {
  const one = await aLife('same');
  await one.grow(300);
  const restored = await aLife('restored');
  const lose = (n: number) =>
    restored.store.append({ type: 'operator.acting', verb: 'apply', about: `same ${n}`, by: 'uid 0' });
  for (let n = 0; n < 299; n += 1) await lose(n);
  await expect(restored.sequencer.step()).rejects.toThrow(/300 entries and the database 0: .* is older/);
  await lose(299);
  await restored.append(2);
  expect(await restored.sequencer.step()).toBe(302);
  expect((await restored.store.checkpoint(302))?.size).toBe(302);
});

test('I116 a copy of another tree of a size that the database has signed ends the log, also where its folder came late', async () => {
  await (await aLife('one')).grow(20);
  fs.renameSync(elsewhere, `${elsewhere}-away`);
  const restored = await aLife('restored');
  await restored.grow(20);
  expect(restored.log.error).toHaveBeenCalledTimes(1);
  fs.renameSync(`${elsewhere}-away`, elsewhere);
  const other = refusal(
    'tlog',
    /^the copy 20\.checkpoint in .* has another tree of 20 entries than the database/,
  );
  await expect(restored.copies.keep(await restored.newest())).rejects.toThrow(other);
  const again = new Sequencer({
    ...restored,
    files: logFiles(join(folder, 'restored')),
    key,
    clock,
    log: silentLog,
  });
  await restored.append(1);
  await expect(again.step()).rejects.toThrow(other);
  expect((await restored.newest()).size).toBe(20);
});

test.each<[string, (copy: string) => void]>([
  ['cut off', (copy) => fs.truncateSync(copy, 40)],
  ['empty', (copy) => fs.truncateSync(copy, 0)],
  [
    'of another key',
    (copy) => fs.writeFileSync(copy, fs.readFileSync(copy, 'utf8').replace(/.{9}\n$/, 'AAAAAAAA=\n')),
  ],
  [
    'of another size',
    (copy) =>
      fs.writeFileSync(copy, signCheckpoint({ size: 5, root: Buffer.alloc(32) }, verifier, privateKey)),
  ],
])('I140 a newest copy that is %s, above the database of a backup, ends the log', async (_, spoil) => {
  await (await aLife('one')).grow(20);
  const restored = await aLife('restored');
  spoil(copyOf(20));
  const kept = fs.readFileSync(copyOf(20));
  await restored.append(20);
  const torn = /^20\.checkpoint in .* cannot be read .* has 0 entries: .* Move the file away and keep it/;
  await expect(restored.sequencer.step()).rejects.toThrow(refusal('tlog', torn));
  expect(await restored.store.checkpoint()).toBeUndefined();
  expect(fs.readFileSync(copyOf(20))).toEqual(kept);
  fs.renameSync(copyOf(20), join(folder, 'kept'));
  expect(await restored.sequencer.step()).toBe(20);
});

test('a copy of another tree that appears later is refused when its size is copied', async () => {
  const one = await aLife('one');
  await one.grow(3);
  const root = Buffer.alloc(32, 1);
  fs.writeFileSync(copyOf(5), signCheckpoint({ size: 5, root }, verifier, privateKey));
  clock.jump(after(61));
  await expect(one.grow(2)).rejects.toThrow(refusal('tlog', /has another tree of 5 entries/));
});

test('while the log is refused, `isFailing` holds, and it goes on by itself once the copy is gone', async () => {
  await (await aLife('one')).grow(20);
  const restored = await aLife('restored');
  await restored.append(1);
  const running = restored.sequencer.run();
  await vi.waitFor(() => expect([restored.sequencer.isFailing, clock.sleeping]).toEqual([true, 1]));
  const reason = expect.stringMatching(/^the copy 20\.checkpoint .* is older/);
  expect(restored.sequencer.standstill).toEqual({ since: NOW, reason });
  fs.rmSync(copyOf(20));
  clock.advanceTo(after(6));
  await vi.waitFor(() => expect(restored.sequencer.isFailing).toBe(false));
  restored.sequencer.stop();
  await running;
  expect((await restored.newest()).size).toBe(1);
});

test.each([0, 1, 100])('a copy that was cut off after %i bytes is completed', async (length) => {
  const one = await aLife('one');
  await one.append(4);
  await one.sequencer.step();
  const { note, size } = await one.newest();
  fs.writeFileSync(copyOf(size), note.slice(0, length));
  await one.copies.keep(await one.newest());
  expect(openCheckpoint(fs.readFileSync(copyOf(size)), verifier).size).toBe(4);
});

test.each([
  ['another text', 'not a checkpoint'],
  ['a checkpoint of another size', signCheckpoint({ size: 9, root: Buffer.alloc(32) }, verifier, privateKey)],
  ['a longer text', 'x'.repeat(5_000)],
])('%s in the place of a copy stays, is logged once, and does not end the log', async (_, text) => {
  const one = await aLife('one');
  await one.grow(3);
  fs.writeFileSync(copyOf(4), text);
  clock.jump(after(61));
  await one.grow(1);
  await one.copies.keep(await one.newest());
  expect(one.log.error).toHaveBeenCalledTimes(1);
  expect(one.log.error.mock.calls[0]?.[0].err.message).toMatch(/4\.checkpoint is no checkpoint of this log/);
  expect(fs.readFileSync(copyOf(4), 'utf8')).toBe(text);
  await one.append(1);
  expect(await one.sequencer.step()).toBe(1);
});

test('how long a checkpoint waits for its copy is counted from the first that is not copied', async () => {
  const { copies, grow } = await aLife('one');
  await grow(1);
  expect(copies.uncopiedSeconds()).toBe(0);
  clock.advanceTo(after(30));
  expect(copies.uncopiedSeconds()).toBe(0);
  await grow(1);
  clock.advanceTo(after(50));
  await grow(1);
  expect(copies.uncopiedSeconds()).toBe(20);
  clock.advanceTo(after(60));
  fs.rmSync(elsewhere, { recursive: true });
  await grow(1);
  expect(copies.uncopiedSeconds()).toBe(30);
  fs.mkdirSync(elsewhere);
  await grow(1);
  expect(copies.uncopiedSeconds()).toBe(0);
});

describe('I289 a folder on a mount that hangs', () => {
  /** Until it is let go, nothing that opens or lists a file there comes back. */
  function hang(call: 'open' | 'readdir') {
    const { promise, resolve } = Promise.withResolvers<void>();
    const real = promises[call] as (...args: unknown[]) => Promise<never>;
    const isThere = (path: unknown) => String(path).startsWith(elsewhere);
    const spy = vi.spyOn(promises, call).mockImplementation((async (...args: unknown[]) => {
      if (isThere(args[0])) await promise;
      return real(...args);
    }) as never);
    return { let: resolve, calls: () => spy.mock.calls.filter(([path]) => isThere(path)).length };
  }
  const says = (log: Awaited<ReturnType<typeof aLife>>['log']) =>
    log.error.mock.calls.map(([{ err }]) => String(err));
  afterEach(() => void vi.restoreAllMocks());

  test('keeps the log from growing for five seconds, once, and is written to when it is back', async () => {
    const { copies, grow, newest, log } = await aLife('one');
    await grow(1);
    const hung = hang('open');
    clock.advanceTo(after(60));
    const growing = grow(1);
    await vi.waitFor(() => expect(hung.calls()).toBe(1));
    clock.advanceTo(after(65));
    await growing;
    expect(copies.hangs).toBe(true);
    for (let n = 0; n < 3; n += 1) await grow(1);
    expect([(await newest()).size, hung.calls(), says(log)]).toEqual([
      ...[5, 1, [expect.stringMatching(/copies does not answer$/)]],
    ]);
    hung.let();
    await vi.waitFor(() => expect(copies.hangs).toBe(false));
    await grow(1);
    expect(fs.readdirSync(elsewhere).toSorted()).toEqual(['1.checkpoint', '2.checkpoint', '6.checkpoint']);
    expect(copies.uncopiedSeconds()).toBe(0);
  });

  test('at the start is compared later', async () => {
    const { copies, sequencer, append, newest } = await aLife('one');
    await append(1);
    const hung = hang('readdir');
    const step = sequencer.step();
    await vi.waitFor(() => expect(hung.calls()).toBe(1));
    clock.advanceTo(after(5));
    expect([await step, (await newest()).size, copies.hangs]).toEqual([1, 1, true]);
    hung.let();
    await vi.waitFor(() => expect(copies.hangs).toBe(false));
    await copies.keep(await newest());
    expect(hung.calls()).toBe(2);
    expect(fs.readdirSync(elsewhere)).toEqual(['1.checkpoint']);
  });
});
