import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { openCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import { noteKey } from '@chancery/shared/tlog/note.ts';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { memoryStore } from '../../../test/kit/store/memory-store.ts';
import { rootByDefinition, tileLog } from '../../../test/kit/tlog.ts';
import type { Store } from '../store/store.ts';
import { Copies } from './copies/folder.ts';
import { type LogFiles, logFiles } from './log-files.ts';
import type { LogKey } from './log-key.ts';
import { Sequencer, type SequencerDeps } from './sequencer.ts';

const newKey = (): LogKey => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519') as {
    privateKey: KeyObject;
    publicKey: KeyObject;
  };
  return { privateKey, verifier: noteKey('test.example/chancery/log', publicKey) };
};
const key = newKey();

let folder: string;
let clock: ManualClock;
let store: Store;
let deps: SequencerDeps;
beforeEach(async () => {
  folder = makeFolder();
  clock = new ManualClock(NOW);
  store = await memoryStore(clock);
  deps = { store, files: logFiles(folder), key, clock, log: silentLog };
});
afterEach(async () => {
  await store.close();
  removeFolder(folder);
});

const acting = (about: number): AuditEvent => ({
  type: 'operator.acting',
  verb: 'apply',
  about: `${about}`,
  by: 'uid 0',
});
let made = 0;
async function append(count: number): Promise<void> {
  const events = Array.from({ length: count }, () => {
    made += 1;
    return acting(made);
  });
  await Promise.all(events.map((event) => store.append(event)));
}

/** All entries that the database has, as the log must have them. */
async function entriesOfStore(): Promise<readonly Uint8Array[]> {
  const { entries } = await store.leaves(0, 100_000);
  return entries.map((text) => Buffer.from(text));
}

const published = () => openCheckpoint(fs.readFileSync(join(folder, 'checkpoint')), key.verifier);

/** The published tree is that of the first entries of the database, and all of its files are there, byte for byte. */
async function expectWhole(size: number): Promise<void> {
  const entries = (await entriesOfStore()).slice(0, size);
  expect(published()).toEqual({ size, root: tileLog(entries).root });
  for (const [path, bytes] of tileLog(entries).files)
    expect(fs.readFileSync(join(folder, path)).equals(bytes), path).toBe(true);
}

test('the log of every size is the tree of its entries, and full tiles replace partial ones', async () => {
  const sequencer = new Sequencer(deps);
  let size = 0;
  for (const count of [1, 1, 3, 250, 1, 1, 300, 700, 2]) {
    await append(count);
    size += count;
    expect(await sequencer.step()).toBe(count);
    await expectWhole(size);
  }
  expect(fs.readdirSync(join(folder, 'tile/0')).toSorted()).toEqual([
    ...['000', '001', '002', '003', '004.p'],
  ]);
  expect(await sequencer.step()).toBe(0);
  expect(fs.statSync(join(folder, 'tile/0/000')).mode & 0o777).toBe(0o600);
});

test('telemetry is not in the log', async () => {
  const sequencer = new Sequencer(deps);
  await store.append({
    type: 'agent.connected',
    id: 'spiffe://test.example/a' as never,
    serial: '01',
    peer: 'x',
  });
  expect(await sequencer.step()).toBe(0);
  await append(1);
  expect(await sequencer.step()).toBe(1);
});

test('another run goes on from the checkpoint of the database', async () => {
  await append(300);
  await new Sequencer(deps).step();
  await append(10);
  await new Sequencer(deps).step();
  await expectWhole(310);
});

class Killed extends Error {}

/** Counts what is asked of store and files, and throws before or after one of these, as a killed process would stop. */
function killedAt(point: number, when: 'before' | 'after'): { deps: SequencerDeps; calls: () => number } {
  let calls = 0;
  const watched = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(of, name) {
        const method = Reflect.get(of, name);
        if (typeof method !== 'function') return method;
        return async (...args: unknown[]) => {
          calls += 1;
          const isPoint = calls === point;
          if (isPoint && when === 'before') throw new Killed();
          const result = await method.apply(of, args);
          if (isPoint) throw new Killed();
          return result;
        };
      },
    });
  const { store: given, files } = deps;
  return { deps: { ...deps, store: watched(given), files: watched(files) }, calls: () => calls };
}

describe.each(['before', 'after'] as const)('SIGKILL %s', (when) => {
  test('any step: what is published is always a tree that the database knows, and nothing is lost', async () => {
    await append(250);
    await new Sequencer(deps).step();
    // Beyond a full tile.
    for (let point = 1; ; point += 1) {
      const before = published().size;
      await append(point % 3 === 0 ? 1 : 7);
      const killed = killedAt(point, when);
      const died = await new Sequencer(killed.deps).step().then(
        () => false,
        (error) => error instanceof Killed,
      );
      const checkpoint = await store.checkpoint();
      const size = published().size;
      expect([before, checkpoint?.size]).toContain(size);
      await expectWhole(size);
      if (!died && killed.calls() < point) break;
      await append(1);
      await new Sequencer(deps).step();
      await expectWhole((await entriesOfStore()).length);
    }
  });

  test('the first step of all', async () => {
    await append(3);
    for (let point = 1; ; point += 1) {
      const killed = killedAt(point, when);
      const died = await new Sequencer(killed.deps).step().then(
        () => false,
        (error) => error instanceof Killed,
      );
      if (!died) break;
    }
    await new Sequencer(deps).step();
    await expectWhole(3);
  });
});

test('I110 of two processes at once only one makes a checkpoint, and the other goes on from it', async () => {
  await append(5);
  const saved: string[] = [];
  const save = store.saveCheckpoint.bind(store);
  vi.spyOn(store, 'saveCheckpoint').mockImplementation(async (from, checkpoint) => {
    const isSaved = await save(from, checkpoint);
    if (isSaved) saved.push(checkpoint.note);
    return isSaved;
  });
  const elsewhere = join(folder, 'elsewhere');
  const [one, other] = [new Sequencer(deps), new Sequencer({ ...deps, files: logFiles(elsewhere) })];
  for (let round = 0; round < 5; round += 1) {
    await Promise.all([one.step(), other.step()]);
    await append(3);
  }
  const sizes = saved.map((note) => openCheckpoint(Buffer.from(note), key.verifier).size);
  expect(new Set(sizes).size).toBe(sizes.length);
  const entries = await entriesOfStore();
  for (const note of saved) {
    const { size, root } = openCheckpoint(Buffer.from(note), key.verifier);
    expect(root).toEqual(rootByDefinition(entries.slice(0, size)));
  }
});

test('I298 who was overtaken by another process publishes nothing, and goes on from its checkpoint', async () => {
  await append(3);
  const one = new Sequencer(deps);
  const other = new Sequencer({ ...deps, files: logFiles(join(folder, 'elsewhere')) });
  const save = store.saveCheckpoint.bind(store);
  vi.spyOn(store, 'saveCheckpoint').mockImplementationOnce(async (from, checkpoint) => {
    await append(1);
    expect(await other.step()).toBe(4);
    return save(from, checkpoint);
  });
  expect(await one.step()).toBe(0);
  expect([fs.existsSync(join(folder, 'checkpoint')), one.checkpoint]).toEqual([false, '']);
  await one.step();
  await expectWhole(4);
});

test.each<[string, readonly string[], string[]]>([
  ['all are gone, as after a restore', ['checkpoint', 'tile'], ['info not there', 'info whole']],
  ['the tiles are gone', ['tile'], ['warn spoiled', 'info whole']],
  ['one is gone, and the checkpoint', ['checkpoint', 'tile/0/001.p'], ['warn spoiled', 'info whole']],
])('of the files of the log %s: that is what is said', async (_, gone, says) => {
  await append(300);
  await new Sequencer(deps).step();
  for (const path of gone) fs.rmSync(join(folder, path), { recursive: true });
  const lines: string[] = [];
  const kept = (level: string) => (_fields: object, text: string) =>
    void lines.push(`${level} ${/not there|spoiled|whole/.exec(text)}`);
  await new Sequencer({ ...deps, log: { ...silentLog, info: kept('info'), warn: kept('warn') } }).step();
  expect(lines).toEqual(says);
  await expectWhole(300);
});

describe('spoiled files are written again from the database at the next start:', () => {
  const spoil = (path: string, change: (bytes: Buffer) => Buffer | undefined) => {
    const bytes = change(fs.readFileSync(join(folder, path)));
    if (bytes === undefined) fs.rmSync(join(folder, path));
    else fs.writeFileSync(join(folder, path), bytes);
  };
  const flipped = (bytes: Buffer): Buffer => {
    bytes[5] = (bytes[5] ?? 0) ^ 1;
    return bytes;
  };
  test.each([
    ['a torn bundle', 'tile/entries/001.p/44', (bytes: Buffer) => bytes.subarray(0, 100)],
    ['a changed bundle', 'tile/entries/001.p/44', flipped],
    ['no bundle', 'tile/entries/001.p/44', () => undefined],
    ['an empty tile', 'tile/0/001.p/44', () => Buffer.alloc(0)],
    ['a changed tile', 'tile/0/001.p/44', flipped],
    ['a changed tile of level 1', 'tile/1/000.p/1', flipped],
    ['a torn checkpoint', 'checkpoint', (bytes: Buffer) => bytes.subarray(0, 30)],
    ['no checkpoint', 'checkpoint', () => undefined],
  ])('%s', async (_, path, change) => {
    await append(300);
    await new Sequencer(deps).step();
    spoil(path, change);
    await append(1);
    const full = fs.statSync(join(folder, 'tile/0/000')).mtimeMs;
    await new Sequencer(deps).step();
    await expectWhole(301);
    // Of these files only.
    expect(fs.statSync(join(folder, 'tile/0/000')).mtimeMs).toBe(full);
  });

  test('the last ones of a log that grew in uneven steps', async () => {
    const sequencer = new Sequencer(deps);
    for (const count of [200, 100, 1, 700, 300]) {
      await append(count);
      await sequencer.step();
    }
    for (const path of ['tile/0/005.p', 'tile/1/000.p', 'tile/entries/005.p'])
      fs.rmSync(join(folder, path), { recursive: true });
    await append(1);
    await new Sequencer(deps).step();
    await expectWhole(1_302);
  });

  // The last page of 1,003 entries ends no tile of the upper level.
  test.each([1_003, 1_300])('all of them, of %i entries', async (count) => {
    await append(count);
    await new Sequencer(deps).step();
    fs.rmSync(join(folder, 'tile'), { recursive: true });
    expect(await new Sequencer(deps).step()).toBe(0);
    await expectWhole(count);
  });
});

test('I111 events that were changed in the database are not signed in place of those that were', async () => {
  await append(20);
  await new Sequencer(deps).step();
  fs.rmSync(join(folder, 'tile'), { recursive: true });
  const leaves = store.leaves.bind(store);
  vi.spyOn(store, 'leaves').mockImplementation(async (from, limit) => {
    const page = await leaves(from, limit);
    return { ...page, entries: page.entries.map((text) => text.replace('"about":"', '"about":"x')) };
  });
  await append(1);
  const step = new Sequencer(deps).step();
  await expect(step).rejects.toThrow(refusal('tlog', /are not those of the signed checkpoint of 20 entries/));
  expect(published().size).toBe(20);
});

test('I112 with an older database than the published checkpoint nothing is signed', async () => {
  await append(20);
  await new Sequencer(deps).step();
  const older = await memoryStore(clock);
  await older.append(acting(0));
  const step = new Sequencer({ ...deps, store: older }).step();
  await expect(step).rejects.toThrow(
    refusal('tlog', /^the published checkpoint has 20 entries and the database 0: the database is older/),
  );
  expect(await older.checkpoint()).toBeUndefined();
  await older.close();
  expect(published().size).toBe(20);
});

test('I299 where the published checkpoint has another tree of the same size nothing is signed', async () => {
  await append(20);
  await new Sequencer(deps).step();
  const other = await memoryStore(clock);
  for (let n = 0; n < 20; n += 1) await other.append(acting(-n));
  await new Sequencer({ ...deps, store: other, files: logFiles(join(folder, 'elsewhere')) }).step();
  fs.copyFileSync(join(folder, 'elsewhere/checkpoint'), join(folder, 'checkpoint'));
  const theirs = published();
  await append(1);
  await expect(new Sequencer(deps).step()).rejects.toThrow(
    refusal('tlog', /^the published checkpoint and the database have another tree of 20 entries/),
  );
  expect([published(), (await store.checkpoint())?.size]).toEqual([theirs, 20]);
  await other.close();
});

test('a checkpoint in the database that this key has not signed ends the log', async () => {
  await append(1);
  await new Sequencer(deps).step();
  const step = new Sequencer({ ...deps, key: newKey() }).step();
  await expect(step).rejects.toThrow(refusal('tlog', /not signed by test\.example/));
});

test.each([
  ['ENOSPC: no space left on device'],
  ['EROFS: read-only file system'],
  ['EACCES: permission denied'],
  ['EIO: i/o error'],
])('%s loses nothing: it is told once, and the log goes on by itself', async (says) => {
  const lines: string[] = [];
  const keep = (_: object, message: string) => void lines.push(message);
  const log: Log = { debug: keep, info: keep, warn: keep, error: keep };
  let full = true;
  const files: LogFiles = {
    ...deps.files,
    writeSynced: async () => {},
    write: async (path, bytes) => {
      if (full) throw Object.assign(new Error(says), { code: says.split(':')[0] });
      return logFiles(folder).write(path, bytes);
    },
  };
  const sequencer = new Sequencer({ ...deps, files, log });
  const running = sequencer.run();
  await append(3);
  for (let second = 0; second < 60; second += 1) {
    await vi.waitFor(() => expect(clock.sleeping).toBe(1));
    if (second === 30) full = false;
    clock.advanceTo(after(second + 1));
  }
  await vi.waitFor(() => expect(published().size).toBe(3));
  sequencer.stop();
  await running;
  await expectWhole(3);
  expect(lines).toEqual([
    'the audit log does not grow; events are kept in the database, and it is tried again',
    'the audit log grows again',
  ]);
});

describe('copies of checkpoints', () => {
  const copyFolder = () => join(folder, 'copies');
  const copiesTo = (log: Log) =>
    new Copies({ folder: copyFolder(), everySeconds: 60, store, verifier: key.verifier, clock, log });
  const copies = () => fs.readdirSync(copyFolder()).toSorted();
  const newest = async () => {
    const checkpoint = await store.checkpoint();
    if (checkpoint === undefined) throw new Error('no checkpoint');
    return checkpoint;
  };
  const grown = async (sequencer: Sequencer, count = 1) => {
    await append(count);
    await sequencer.step();
    return newest();
  };

  test('the first is made at once, then at most one in the given time, each a file of its own', async () => {
    fs.mkdirSync(copyFolder());
    const sequencer = new Sequencer(deps);
    const keeper = copiesTo(silentLog);
    await keeper.keep(await grown(sequencer));
    await keeper.keep(await grown(sequencer));
    expect(copies()).toEqual(['1.checkpoint']);
    clock.jump(after(61));
    await keeper.keep(await newest());
    await keeper.keep(await newest());
    expect(copies()).toEqual(['1.checkpoint', '2.checkpoint']);
    const note = fs.readFileSync(join(copyFolder(), '2.checkpoint'));
    expect(openCheckpoint(note, key.verifier).size).toBe(2);
    // After a restart the same one is there already.
    await copiesTo(silentLog).keep(await newest());
    expect(copies()).toHaveLength(2);
  });

  test('a folder that is missing is not made: it is told once, and the copy follows when it is there', async () => {
    const lines: string[] = [];
    const keep = (_: object, message: string) => void lines.push(message);
    const log: Log = { debug: keep, info: keep, warn: keep, error: keep };
    const keeper = copiesTo(log);
    const checkpoint = await grown(new Sequencer(deps));
    for (let n = 0; n < 3; n += 1) await keeper.keep(checkpoint);
    expect(fs.existsSync(copyFolder())).toBe(false);
    fs.mkdirSync(copyFolder());
    await keeper.keep(checkpoint);
    expect(copies()).toEqual(['1.checkpoint']);
    expect(lines).toEqual([
      'a checkpoint could not be copied; it is tried again',
      'checkpoints are copied again',
    ]);
  });

  test('a CA that serves copies the newest also when nothing more happens', async () => {
    const kept: number[] = [];
    const keep = async ({ size }: { size: number }) => void kept.push(size);
    const keeper = { compare: async () => {}, keep };
    await append(3);
    const sequencer = new Sequencer({ ...deps, copies: keeper });
    const running = sequencer.run();
    await vi.waitFor(() => expect(clock.sleeping).toBe(1));
    clock.advanceTo(after(1));
    await vi.waitFor(() => expect(kept).toEqual([3, 3]));
    sequencer.stop();
    await running;
  });

  test('I115 once a copy shows another history, nothing more is signed before it is compared again', async () => {
    const other = new IdentityError('tlog', 'a copy has another checkpoint');
    const compare = vi.fn(async () => {});
    const keep = vi.fn(async () => {});
    await append(1);
    const sequencer = new Sequencer({ ...deps, copies: { compare, keep } });
    const running = sequencer.run();
    await vi.waitFor(() => expect(clock.sleeping).toBe(1));
    keep.mockRejectedValueOnce(other);
    compare.mockRejectedValueOnce(other);
    for (const [seconds, compared] of [
      [1, 1],
      [7, 2],
    ] as const) {
      clock.advanceTo(after(seconds));
      await vi.waitFor(() => {
        expect(compare).toHaveBeenCalledTimes(compared);
        expect([clock.sleeping, sequencer.isFailing]).toEqual([1, true]);
      });
      await append(1);
    }
    expect(published().size).toBe(1);
    clock.advanceTo(after(13));
    await vi.waitFor(() => expect(sequencer.isFailing).toBe(false));
    expect(published().size).toBe(3);
    sequencer.stop();
    await running;
  });
});
