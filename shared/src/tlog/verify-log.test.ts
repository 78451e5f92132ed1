import { generateKeyPairSync } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { tileLog } from '../../../test/kit/tlog.ts';
import { signCheckpoint } from './checkpoint.ts';
import { noteKey } from './note.ts';
import { type KeptCheckpoint, verifyLog } from './verify-log.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const key = noteKey('prod.example/chancery/log', publicKey);

const SIZE = 1_000;
const entriesOf = (size: number, says = 'entry') =>
  Array.from({ length: size }, (_, at) => Buffer.from(`${says} ${at}`));

function written(entries: readonly Uint8Array[]): Map<string, Uint8Array> {
  const { files, root } = tileLog(entries);
  files.set('checkpoint', Buffer.from(signCheckpoint({ size: entries.length, root }, key, privateKey)));
  return files;
}

const noteOf = (entries: readonly Uint8Array[]): Uint8Array =>
  written(entries).get('checkpoint') ?? Buffer.of();
const kept = (size: number): KeptCheckpoint => ({ name: `kept-${size}`, note: noteOf(entriesOf(size)) });

let files: Map<string, Uint8Array>;
beforeEach(() => {
  files = written(entriesOf(SIZE));
});
const verify = async (...checkpoints: readonly KeptCheckpoint[]) => {
  const { findings } = await verifyLog({ read: async (path) => files.get(path), key, kept: checkpoints });
  return findings.map(({ problem }) => problem);
};
const fileAt = (path: string): Buffer => Buffer.from(files.get(path) ?? Buffer.of());

test.each([0, 1, 2, 255, 256, 257, 511, 512, 1_000])(
  'a log of %i entries is good, with every kept checkpoint',
  async (size) => {
    files = written(entriesOf(size));
    const sizes = [0, 1, 2, 255, 256, 257, 512, size].filter((each) => each <= size);
    expect(await verify(...sizes.map(kept))).toEqual([]);
  },
);

test('progress is told up to the last entry', async () => {
  const told: string[] = [];
  const onProgress = (read: number, size: number) => void told.push(`${read} of ${size}`);
  await verifyLog({ read: async (path) => files.get(path), key, kept: [], onProgress });
  expect(told).toEqual(['256 of 1000', '512 of 1000', '768 of 1000', '1000 of 1000']);
});

test('where a partial file was removed, the full one that begins with it is read', async () => {
  const more = written(entriesOf(1_100));
  for (const path of ['tile/entries/003.p/232', 'tile/0/003.p/232', 'tile/1/000.p/3']) files.delete(path);
  for (const path of ['tile/entries/003', 'tile/0/003']) files.set(path, more.get(path) ?? Buffer.of());
  files.set('tile/1/000.p/3', fileAt('tile/1/000.p/4').subarray(0, 96));
  files.set('tile/1/000.p/3', (more.get('tile/1/000.p/4') ?? Buffer.of()).subarray(0, 96));
  expect(await verify()).toEqual([]);
});

describe('I113 any byte that is changed is noticed, and named by its entry:', () => {
  const small = written(entriesOf(3));
  const changes = [...small].flatMap(([path, bytes]) => Array.from(bytes, (_, at) => [path, at] as const));
  test.each([...small.keys()])('every byte of %s', async (changed) => {
    for (const [path, at] of changes.filter(([each]) => each === changed)) {
      files = written(entriesOf(3));
      const bytes = fileAt(path);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      files.set(path, bytes);
      const [first = ''] = await verify();
      if (path === 'checkpoint') expect(first).toMatch(/^checkpoint: /);
      else if (path.startsWith('tile/0'))
        expect(first).toMatch(new RegExp(`^entry ${Math.floor(at / 32)}: tile/0`));
      // Two bytes of length before seven of an entry.
      else expect(first).toMatch(new RegExp(`^entry ${Math.floor(at / 9)}: tile/entries/000.p/3 `));
    }
  });

  test.each([
    [
      'tile/entries/002',
      600,
      /^entry (5\d\d|6\d\d): tile\/entries\/002 does not have the entry that was signed/,
    ],
    [
      'tile/0/002',
      32 * 10 + 3,
      /^entry 522: tile\/0\/002 does not have its hash\. The entries are those that were signed$/,
    ],
    [
      'tile/1/000.p/3',
      33,
      /^entries 256 to 511: tile\/1\/000\.p\/3 does not have their hash\. The entries are those that were/,
    ],
  ])('in %s', async (path, at, says) => {
    const bytes = fileAt(path);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    files.set(path, bytes);
    expect(await verify()).toEqual([expect.stringMatching(says)]);
  });
});

describe('I114 entries that were', () => {
  const spoilt = (change: (entries: Buffer[]) => void, paths: RegExp) => {
    const entries = entriesOf(SIZE);
    change(entries);
    for (const [path, bytes] of tileLog(entries).files) if (paths.test(path)) files.set(path, bytes);
  };

  test.each([
    ['removed', (entries: Buffer[]) => void entries.splice(300, 1), 300],
    [
      'reordered',
      (entries: Buffer[]) => void entries.splice(300, 2, ...entries.slice(300, 302).toReversed()),
      300,
    ],
    ['replaced', (entries: Buffer[]) => void entries.splice(300, 1, Buffer.from('another')), 300],
    ['added', (entries: Buffer[]) => void entries.splice(300, 0, Buffer.from('another')), 300],
  ])('%s are named by the first of them, with and without the tile over them', async (_, change, first) => {
    spoilt(change, /entries/);
    expect((await verify())[0]).toMatch(
      new RegExp(`^entry ${first}: tile/entries/001 does not have the entry`),
    );
    spoilt(change, /entries|tile\/0/);
    expect((await verify())[0]).toMatch(
      /^entries 256 to 511: tile\/1\/000.* They are not those that were signed$/,
    );
    spoilt(change, /./);
    expect(await verify()).toEqual([
      'entries and tiles agree with each other, and not with the signed root of 1000 entries: it is another history',
    ]);
  });

  test('cut with their files are named', async () => {
    for (const path of [...files.keys()]) if (/00[23]/.test(path)) files.delete(path);
    expect(await verify()).toEqual([
      expect.stringMatching(/^entry 512: tile\/entries\/002 is missing; 487 more differ$/),
    ]);
    files = written(entriesOf(SIZE));
    files.set('tile/entries/001', fileAt('tile/entries/001').subarray(0, 100));
    expect((await verify())[0]).toMatch(/^entry 26[0-9]: tile\/entries\/001 ends early; \d+ more differ$/);
  });

  test('cut, with an earlier checkpoint in place, are proved missing by a kept checkpoint alone', async () => {
    files = written(entriesOf(990));
    expect(await verify()).toEqual([]);
    expect(await verify(kept(990), kept(SIZE))).toEqual([
      'entries 990 to 999 are missing: the kept checkpoint kept-1000 has 1000 entries',
    ]);
  });

  test('rewritten, and signed with the key itself, are proved another history by a kept checkpoint alone', async () => {
    const entries = entriesOf(SIZE);
    entries[300] = Buffer.from('another');
    files = written(entries);
    expect(await verify()).toEqual([]);
    expect(await verify(kept(300))).toEqual([]);
    expect(await verify(kept(300), kept(301), kept(SIZE))).toEqual([
      'the first 301 entries are not those of the kept checkpoint kept-301: it is another history',
      'the first 1000 entries are not those of the kept checkpoint kept-1000: it is another history',
    ]);
  });
});

test('bytes after the last entry of a bundle are noticed', async () => {
  files.set('tile/entries/000', Buffer.concat([fileAt('tile/entries/000'), Buffer.of(0)]));
  expect(await verify()).toEqual(['tile/entries/000 has 1 bytes after its last entry']);
});

test('a log without a checkpoint, and one of another key, is not good', async () => {
  const stranger = noteKey('prod.example/chancery/log', generateKeyPairSync('ed25519').publicKey);
  const read = async (path: string) => files.get(path);
  const { findings } = await verifyLog({ read, key: stranger, kept: [] });
  expect(findings).toEqual([
    { entry: undefined, problem: expect.stringMatching(/^checkpoint: .* not signed by/) },
  ]);
  files.delete('checkpoint');
  expect(await verify()).toEqual([expect.stringMatching(/^checkpoint is missing: a CA that serves/)]);
});

test('a kept checkpoint that the key has not signed is refused', async () => {
  const note = Buffer.from(kept(5).note);
  note[note.length - 20] = 65;
  await expect(verify({ name: 'spoiled', note })).rejects.toThrow(refusal('tlog', /does not verify/));
});
