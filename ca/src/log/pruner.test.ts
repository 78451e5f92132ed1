/** A log of two units and a bit, pruned of the first. */
import { generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { cautiousTime } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { signCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import { noteKey } from '@chancery/shared/tlog/note.ts';
import { type ReadFile, readEntryProof } from '@chancery/shared/tlog/read-log.ts';
import { PRUNED_TOGETHER } from '@chancery/shared/tlog/tile.ts';
import { verifyLog } from '@chancery/shared/tlog/verify-log.ts';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { memoryStore } from '../../../test/kit/store/memory-store.ts';
import type { Store } from '../store/store.ts';
import { logFiles } from './log-files.ts';
import { type PrunerDeps, prune } from './pruner.ts';
import { retentionOf } from './retention.ts';
import { Sequencer, type SequencerDeps } from './sequencer.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const key = { privateKey, verifier: noteKey('test.example/chancery/log', publicKey) };
const DAY = 86_400;
const signal = new AbortController().signal;

let folder: string;
let store: Store;
let deps: SequencerDeps & PrunerDeps;
let sequencer: Sequencer;
const clock = new ManualClock(NOW);
const notes = new Map<number, string>();

const append = (count: number) =>
  Promise.all(
    Array.from({ length: count }, (_, n) =>
      store.append({ type: 'operator.acting', verb: 'apply', about: `${n}`, by: 'uid 0' }),
    ),
  );
const integrate = async () => {
  while ((await sequencer.step()) > 0);
  while (await store.indexEvents(10_000));
  const newest = await store.checkpoint();
  if (newest !== undefined) notes.set(newest.size, newest.note);
};

beforeAll(async () => {
  folder = makeFolder();
  store = await memoryStore(clock);
  deps = {
    store,
    files: logFiles(folder),
    key,
    clock,
    log: silentLog,
    cautious: () => clock.now(),
    keepSeconds: DAY,
  };
  sequencer = new Sequencer(deps);
  await append(PRUNED_TOGETHER + 500);
  await integrate();
  clock.advanceTo(after(DAY - 10));
  await append(PRUNED_TOGETHER);
  await integrate();
});
afterAll(async () => {
  await store.close();
  removeFolder(folder);
});

const has = (path: string): boolean => fs.existsSync(join(folder, 'tile', path));
const reading: ReadFile = async (path) => {
  const at = join(folder, path);
  return fs.existsSync(at) ? fs.readFileSync(at) : undefined;
};
const keptAt = (size: number) => ({ name: `kept-${size}`, note: Buffer.from(notes.get(size) ?? '') });
const verify = async (read: ReadFile, ...sizes: number[]) => {
  const { from, lacking, findings } = await verifyLog({ read, key: key.verifier, kept: sizes.map(keptAt) });
  return [from, ...lacking, ...findings.map(({ problem }) => problem)];
};
const first = PRUNED_TOGETHER + 500;

test('what is not old enough stays', async () => {
  expect(await prune(deps, signal)).toBe(0);
  expect(await store.pruning()).toMatchObject({ entries: 0 });
});

test('what goes next is said: when the youngest of it is old enough', async () => {
  const found = await retentionOf(store, DAY);
  const [entries, together] = [2 * PRUNED_TOGETHER + 500, PRUNED_TOGETHER];
  expect(found).toEqual({ keepSeconds: DAY, entries, pruned: 0, together, lacking: 0, nextAt: after(DAY) });
  expect(await retentionOf(store, undefined)).toMatchObject({ lacking: 0, nextAt: undefined });
});

test('I207 what seems old to a clock that leapt ahead stays', async () => {
  const leapt = cautiousTime(clock, () => 0);
  clock.jump(after(DAY + 10));
  expect(await prune({ ...deps, cautious: leapt }, signal)).toBe(0);
  expect(await store.pruning()).toMatchObject({ entries: 0 });
});

test('what is old is announced, and stays until a checkpoint covers that', async () => {
  clock.advanceTo(after(DAY + 10));
  expect(await prune(deps, signal)).toBe(0);
  expect(await store.pruning()).toMatchObject({ entries: PRUNED_TOGETHER, done: 0 });
  expect([has('entries/000'), has('0/255')]).toEqual([true, true]);
  await integrate();
  // A killed pruner: the rest of the files goes with the next one.
  fs.rmSync(join(folder, 'tile/entries/000'));
  expect(await prune(deps, signal)).toBe(PRUNED_TOGETHER);
  expect([has('entries/000'), has('entries/255'), has('0/255')]).toEqual([false, false, false]);
  expect([has('entries/256'), has('0/256'), has('1/000')]).toEqual([true, true, true]);
  expect(await store.pruning()).toMatchObject({ done: PRUNED_TOGETHER, due: undefined });
  expect((await store.leaves(0, 1)).through).toBeGreaterThan(PRUNED_TOGETHER - 256);
});

test('what is kept is verified, with checkpoints of it, and says where it begins', async () => {
  const newest = (await store.checkpoint())?.size ?? 0;
  expect(newest).toBe(2 * PRUNED_TOGETHER + 501);
  expect(await verify(reading, first, newest)).toEqual([PRUNED_TOGETHER]);
});

test('I141 a kept checkpoint of what was pruned proves nothing, and is not said to', async () => {
  const size = Math.min(...notes.keys());
  notes.set(9, signCheckpoint({ size: 9, root: Buffer.alloc(32) }, key.verifier, key.privateKey));
  expect(await verify(reading, size, 9)).toEqual([
    PRUNED_TOGETHER,
    expect.stringMatching(
      /^the kept checkpoint kept-9 has 9 entries, and those before 65536 were pruned: compare/,
    ),
  ]);
});

test.each<[string, (path: string) => Promise<Uint8Array | undefined>, RegExp]>([
  [
    'the entry that says so is another',
    async (path) => {
      const bytes = Buffer.from((await reading(path)) ?? []);
      return bytes.includes('log.pruned')
        ? Buffer.from(bytes.toString('latin1').replace('log.pruned', 'log.prunes'), 'latin1')
        : reading(path);
    },
    /^entries 0 to 65535 are missing, and no entry after them says that they were pruned$/,
  ],
  [
    'more is missing than was said',
    async (path) => (/tile\/(entries|0)\/(2[5-9]|[34]\d|50|51)\d$/.test(path) ? undefined : reading(path)),
    /^entries 0 to 131071 are missing, and no entry after them says/,
  ],
  [
    'a tile above what was pruned is another',
    async (path) => {
      const bytes = await reading(path);
      return path.startsWith('tile/2/') && bytes !== undefined
        ? Buffer.concat([Buffer.alloc(32, 7), bytes.subarray(32)])
        : bytes;
    },
    /not with the signed root|do(es)? not|it is another history/,
  ],
])('I141 a pruned log is bad where %s', async (_, read, says) => {
  const [, ...findings] = await verify(read);
  expect(findings.join('\n')).toMatch(new RegExp(says.source, 'm'));
});

test.each<[string, string, (bytes: Buffer) => Buffer, RegExp]>([
  [
    'a byte of a tile over it is another',
    'tile/1/000',
    (bytes) => Buffer.concat([bytes.subarray(0, 5), Buffer.of((bytes[5] ?? 0) ^ 1), bytes.subarray(6)]),
    /^entries 0 to 65535, which were pruned: tile\/1\/000 does not have their hashes$/,
  ],
  [
    'a tile over it is shorter',
    'tile/1/000',
    (bytes) => bytes.subarray(0, 320),
    /^entries 0 to 65535, which were pruned: tile\/1\/000 does not have their hashes$/,
  ],
  [
    'the tile above that is another',
    'tile/2/000.p/2',
    (bytes) => Buffer.concat([Buffer.alloc(32, 7), bytes.subarray(32)]),
    /^entries 0 to 65535, which were pruned: tile\/1\/000 and tile\/2\/000\.p\/2 differ, and the second does/,
  ],
  [
    'the tile above that is shorter',
    'tile/2/000.p/2',
    (bytes) => bytes.subarray(0, 40),
    /^entry 0: .* is missing; /,
  ],
])('I303 a pruned log is bad where %s', async (_, path, change, says) => {
  const found = await verify(async (each) => {
    const bytes = await reading(each);
    return bytes !== undefined && each === path ? change(Buffer.from(bytes)) : bytes;
  });
  expect(found).toEqual(expect.arrayContaining([expect.stringMatching(says)]));
});

test('I303 a tile over what was pruned that is missing is named', async () => {
  const gone = async (path: string) => (path === 'tile/1/000' ? undefined : reading(path));
  expect(await verify(gone)).toEqual([PRUNED_TOGETHER, 'tile/1/000']);
});

test('an entry that is kept is proved, one that was pruned is said to be', async () => {
  const proof = await readEntryProof(PRUNED_TOGETHER + 7, reading, key.verifier);
  expect(proof.index).toBe(PRUNED_TOGETHER + 7);
  await expect(readEntryProof(7, reading, key.verifier)).rejects.toThrow(
    refusal('tlog', /is missing: was entry 7 pruned\?$/),
  );
});

test('queries find what is kept, with its index, and end', async () => {
  const query = { words: [], text: '', decision: undefined, since: 0, until: 9e15, limit: 1000 };
  const back = await store.search({ ...query, backwards: true, place: undefined });
  expect(back.found[0]?.index).toBe(2 * PRUNED_TOGETHER + 500);
  const forth = await store.search({ ...query, backwards: false, place: undefined });
  const at = forth.found.findIndex(({ index }) => index === first);
  expect(JSON.parse(forth.found[at]?.text ?? '{}')['about']).toBe('0');
  const long = { ...query, words: ['spiffe://test.example/none'], backwards: true };
  let [place, more, pages]: [number | undefined, boolean, number] = [undefined, true, 0];
  for (; more; pages += 1) ({ place, more } = await store.search({ ...long, place }));
  expect(pages).toBeLessThan(3);
});

test('however old all of it is, as many entries as are pruned together stay', async () => {
  expect((await store.pruning(after(30 * DAY), PRUNED_TOGETHER)).due).toBeUndefined();
  const { entries, pruned, ...next } = await retentionOf(store, DAY);
  expect(pruned).toBe(PRUNED_TOGETHER);
  expect(next).toMatchObject({ lacking: 3 * PRUNED_TOGETHER - entries, nextAt: undefined });
});

const stepAgain = async (more: Partial<SequencerDeps> = {}) => {
  await append(10);
  const again = new Sequencer({ ...deps, ...more });
  while ((await again.step()) > 0);
};

test('the log goes on after a restart, with its growing end written again', async () => {
  await stepAgain();
  fs.rmSync(join(folder, 'tile/entries/513.p'), { recursive: true, force: true });
  await stepAgain();
  expect(await verify(reading)).toEqual([PRUNED_TOGETHER]);
});

test('I217 without its files the log goes on from the database, which has the tree of what was pruned', async () => {
  const restored = join(folder, 'restored');
  await stepAgain({ files: logFiles(restored) });
  const readRestored: ReadFile = (path) => reading(join('restored', path));
  expect(await verify(readRestored, first)).toEqual([PRUNED_TOGETHER, 'tile/1/000']);
  const proof = await readEntryProof(PRUNED_TOGETHER + 7, readRestored, key.verifier);
  expect(proof.index).toBe(PRUNED_TOGETHER + 7);
});

test.each([
  [
    'an older release kept no such tree',
    undefined,
    /^the database was pruned .* put a copy .* without its file/,
  ],
  [
    'that tree is another',
    `\n\n${'07'.repeat(32)}\n`,
    /^the events in the database are not those of the signed/,
  ],
  ['that tree is damaged', '\n\n07\n', /^a level of the pruned entries is damaged$/],
])('I217 without its files it does not where %s', async (_, tail, says) => {
  const known = await store.pruning();
  const spy = vi.spyOn(store, 'pruning').mockResolvedValue({ ...known, tail });
  onTestFinished(() => spy.mockRestore());
  const gone = stepAgain({ files: logFiles(join(folder, `none-${tail?.length}`)) });
  await expect(gone).rejects.toThrow(refusal('tlog', says));
});
