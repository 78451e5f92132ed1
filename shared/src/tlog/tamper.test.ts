/** I209: each kind of file of a log, spoiled in each way: the first bad entry is named, with the file. */
import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { tileLog } from '../../../test/kit/tlog.ts';
import { equal } from '../ground/bytes.ts';
import { signCheckpoint } from './checkpoint.ts';
import { noteKey } from './note.ts';
import { readEntryProof } from './read-log.ts';
import { PRUNED_TOGETHER, readBundle, TILE_WIDTH } from './tile.ts';
import { verifyLog } from './verify-log.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const key = noteKey('prod.example/chancery/log', publicKey);

type Files = ReadonlyMap<string, Uint8Array>;
function logOf(size: number): Files {
  const entries = Array.from({ length: size }, (_, at) =>
    Buffer.from(`{"at":"now","type":"test","n":${at}}`),
  );
  const { files, root } = tileLog(entries);
  return files.set('checkpoint', Buffer.from(signCheckpoint({ size, root }, key, privateKey)));
}
const small = logOf(1_000);
/** Of three levels. */
const large = logOf(PRUNED_TOGETHER + 300);

const at = (files: Files, path: string): Buffer => Buffer.from(files.get(path) ?? Buffer.of());
async function findingsWith(files: Files, changed: ReadonlyMap<string, Uint8Array | undefined>) {
  const read = async (path: string) => (changed.has(path) ? changed.get(path) : files.get(path));
  return (await verifyLog({ read, key, kept: [] })).findings;
}

/** A file, the first entry under it, how many entries are under each of its parts, and one like it. */
const FILES: readonly [string, Files, number, number, string][] = [
  ['tile/entries/000', small, 0, 1, 'tile/entries/001'],
  ['tile/entries/001', small, TILE_WIDTH, 1, 'tile/entries/000'],
  ['tile/entries/003.p/232', small, 3 * TILE_WIDTH, 1, 'tile/entries/002'],
  ['tile/0/000', small, 0, 1, 'tile/0/001'],
  ['tile/0/001', small, TILE_WIDTH, 1, 'tile/0/000'],
  ['tile/0/003.p/232', small, 3 * TILE_WIDTH, 1, 'tile/0/002'],
  ['tile/1/000.p/3', small, 0, TILE_WIDTH, 'tile/0/000'],
];
const LARGE: readonly (typeof FILES)[number][] = [
  ['tile/1/000', large, 0, TILE_WIDTH, 'tile/0/000'],
  ['tile/1/001.p/1', large, PRUNED_TOGETHER, TILE_WIDTH, 'tile/2/000.p/1'],
  ['tile/2/000.p/1', large, 0, PRUNED_TOGETHER, 'tile/1/001.p/1'],
];

/** At both ends and in between. */
const places = ({ length }: Uint8Array): readonly number[] =>
  Array.from({ length: 8 }, (_, n) => Math.floor(((length - 1) * n) / 7));
const spliced = (bytes: Buffer, from: number, left: number, ...more: readonly number[]): Buffer =>
  Buffer.concat([bytes.subarray(0, from), Buffer.from(more), bytes.subarray(from + left)]);

type Change = (bytes: Buffer, other: Buffer) => readonly (Buffer | undefined)[];
const CHANGES: readonly [string, Change][] = [
  ['another byte', (bytes) => places(bytes).map((n) => spliced(bytes, n, 1, (bytes[n] ?? 0) ^ 0x10))],
  ['a byte less', (bytes) => places(bytes).map((n) => spliced(bytes, n, 1))],
  ['a byte more', (bytes) => places(bytes).map((n) => spliced(bytes, n, 0, 0x41))],
  ['nothing', () => [Buffer.of(), undefined]],
  ['half of it', (bytes) => [bytes.subarray(0, bytes.length >> 1)]],
  ['another file', (_, other) => [other]],
  ['twice that', (bytes) => [Buffer.concat([bytes, bytes])]],
];
const FEW: readonly [string, Change][] = [
  ['another byte', (bytes) => [spliced(bytes, bytes.length >> 1, 1, (bytes[bytes.length >> 1] ?? 0) ^ 1)]],
  ['nothing, or another file', (_, other) => [undefined, other]],
];

describe.each([
  ...FILES.map((file) => [...file, CHANGES] as const),
  ...LARGE.map((file) => [...file, FEW] as const),
])('I209 in the place of %s', (path, files, first, each, like, changes) => {
  test.each(changes)('%s', async (_, change) => {
    for (const bytes of change(at(files, path), at(files, like))) {
      const [found] = await findingsWith(files, new Map([[path, bytes]]));
      expect(found?.entry).toBe(first + each * firstBad(at(files, path), path, bytes ?? Buffer.of()));
      expect(found?.problem).toContain(path);
    }
  });
});

/** Which part of the file is the first that is another one. A tile of another length has no part that is right. */
function firstBad(right: Buffer, path: string, bytes: Buffer): number {
  if (!path.startsWith('tile/entries'))
    return bytes.length === right.length
      ? Math.floor(bytes.findIndex((byte, n) => byte !== right[n]) / 32)
      : 0;
  const width = Number(/\.p\/(\d+)$/.exec(path)?.[1] ?? TILE_WIDTH);
  const read = (from: Buffer) => readBundle(from, { level: 'entries', index: 0, width }).entries;
  const found = read(bytes);
  const bad = read(right).findIndex((entry, n) => found[n] === undefined || !equal(entry, found[n]));
  // What follows the last entry is no part of any.
  return Math.max(0, bad);
}

test('I209 two files that are exchanged are both bad, and the first is named', async () => {
  const [a, b] = ['tile/entries/001', 'tile/entries/002'];
  const exchanged = new Map([
    [a, at(small, b)],
    [b, at(small, a)],
  ]);
  const [found] = await findingsWith(small, exchanged);
  expect(found).toMatchObject({ entry: TILE_WIDTH, problem: expect.stringMatching(/; 511 more differ$/) });
});

describe('I300 no proof is given out that is not one:', () => {
  const proofWith = (path: string, bytes: Uint8Array) =>
    readEntryProof(300, async (each) => (each === path ? bytes : small.get(each)), key);

  test.each([
    ['another entry', 'tile/entries/001', 44 * 36 + 10],
    ['another hash beside it', 'tile/0/001', 45 * 32],
    ['another hash above it', 'tile/1/000.p/3', 5],
  ])('%s', async (_, path, place) => {
    const bytes = at(small, path);
    expect((await proofWith(path, bytes)).index).toBe(300);
    await expect(proofWith(path, spliced(bytes, place, 1, (bytes[place] ?? 0) ^ 1))).rejects.toThrow(
      refusal('tlog', /./),
    );
  });
});
