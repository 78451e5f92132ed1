import { beforeAll, describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { rootByDefinition, tileLog } from '../../../test/kit/tlog.ts';
import { leafHash } from './hash.ts';
import { verifyConsistency, verifyInclusion } from './proof.ts';
import { proveConsistency, proveInclusion, type Tree } from './prove.ts';
import { Tail } from './tail.ts';
import {
  hashesOfTile,
  MAX_ENTRY_BYTES,
  newTiles,
  partialFolder,
  readBundle,
  type TileName,
  tilePath,
  writeBundle,
} from './tile.ts';

const entriesOf = (size: number) => Array.from({ length: size }, (_, at) => Buffer.from(`entry ${at}`));

function treeOf(size: number): Tree & { readonly root: Uint8Array; readonly asked: string[] } {
  const { files, root } = tileLog(entriesOf(size));
  const asked: string[] = [];
  const read = async (name: TileName) => {
    asked.push(tilePath(name));
    return files.get(tilePath(name)) ?? Buffer.alloc(0);
  };
  return { size, read, root, asked };
}

test('a growing tree has the root of the definition at every size', () => {
  const entries = entriesOf(600);
  const tail = new Tail();
  for (let size = 0; size <= entries.length; size += 1) {
    expect(tail.root()).toEqual(rootByDefinition(entries.slice(0, size)));
    tail.add(leafHash(entries[size] ?? Buffer.alloc(0)), () => {});
  }
});

test('every entry of every small tree is proved, and no other index or leaf is', async () => {
  for (let size = 1; size <= 20; size += 1) {
    const tree = treeOf(size);
    for (let index = 0; index < size; index += 1) {
      const proof = await proveInclusion(index, tree);
      const claim = { index, size, leaf: leafHash(Buffer.from(`entry ${index}`)), root: tree.root, proof };
      verifyInclusion(claim);
      const leaf = leafHash(Buffer.from('another'));
      for (const spoiled of [{ index: index + 1 }, { leaf }, { proof: [...proof, leaf] }])
        expect(() => verifyInclusion({ ...claim, ...spoiled })).toThrow(refusal('tlog', /./));
    }
  }
});

test('every beginning of every small tree is proved, and another root is not', async () => {
  for (let size2 = 1; size2 <= 20; size2 += 1) {
    const tree = treeOf(size2);
    for (let size1 = 1; size1 <= size2; size1 += 1) {
      const root1 = rootByDefinition(entriesOf(size1));
      const proof = await proveConsistency(size1, tree);
      const claim = { size1, root1, size2, root2: tree.root, proof };
      verifyConsistency(claim);
      const other = rootByDefinition([Buffer.from('other')]);
      for (const spoiled of [{ root1: other }, { root2: other }])
        expect(() => verifyConsistency({ ...claim, ...spoiled })).toThrow(refusal('tlog', /one history/));
    }
  }
});

describe('a tree of 70,000 entries', () => {
  let tree: ReturnType<typeof treeOf>;
  beforeAll(() => {
    tree = treeOf(70_000);
  });

  test.each([0, 255, 256, 65_535, 65_536, 69_887, 69_888, 69_999])(
    'entry %i is proved by few tiles',
    async (index) => {
      tree.asked.length = 0;
      const proof = await proveInclusion(index, tree);
      const leaf = leafHash(Buffer.from(`entry ${index}`));
      verifyInclusion({ index, size: tree.size, leaf, root: tree.root, proof });
      expect(tree.asked.length).toBeLessThanOrEqual(6);
    },
  );

  test.each([1, 255, 256, 257, 65_535, 65_536, 65_537, 69_999])(
    '%i entries are its beginning',
    async (size1) => {
      const root1 = rootByDefinition(entriesOf(size1));
      const proof = await proveConsistency(size1, tree);
      verifyConsistency({ size1, root1, size2: tree.size, root2: tree.root, proof });
    },
  );

  test('an entry that it does not have and a larger beginning are refused', async () => {
    await expect(proveInclusion(70_000, tree)).rejects.toThrow(
      refusal('tlog', /no entry 70000: the log has 70000/),
    );
    await expect(proveInclusion(-1, tree)).rejects.toThrow(refusal('tlog', /no entry -1/));
    await expect(proveConsistency(70_001, tree)).rejects.toThrow(
      refusal('tlog', /does not contain one of 70001/),
    );
    await expect(proveConsistency(0, tree)).rejects.toThrow(refusal('tlog', /does not contain/));
  });
});

/** The example of C2SP tlog-tiles, section "Partial Tiles". */
test('a tree of 70,000 entries has 273 full tiles and a partial one, and so on above', () => {
  const tiles = [0, 1, 2, 3].map((level) => newTiles(level, 0, 70_000));
  expect(tiles.map((each) => each.length)).toEqual([274, 2, 1, 0]);
  expect(tiles.map((each) => each.at(-1)?.width)).toEqual([112, 17, 1, undefined]);
  expect([0, 1].map((level) => newTiles(level, 0, 256).at(-1)?.width)).toEqual([256, 1]);
  expect(newTiles(0, 255, 257)).toEqual([
    { level: 0, index: 0, width: 256 },
    { level: 0, index: 1, width: 1 },
  ]);
  expect(newTiles(1, 257, 511)).toEqual([]);
});

test.each([
  [{ level: 0, index: 1_234_067, width: 256 }, 'tile/0/x001/x234/067'],
  [{ level: 2, index: 0, width: 17 }, 'tile/2/000.p/17'],
  [{ level: 'entries', index: 1_000, width: 1 }, 'tile/entries/x001/000.p/1'],
] as const)('%j is at %s', (name, path) => {
  expect(tilePath(name)).toBe(path);
  if (name.width < 256) expect(path).toBe(`${partialFolder(name)}/${name.width}`);
});

test('a bundle is read as it was written, and what is wrong with it is said after the entries that could be read', () => {
  const name = { level: 'entries', index: 0, width: 3 } as const;
  const entries = [Buffer.from('a'), Buffer.alloc(0), Buffer.alloc(MAX_ENTRY_BYTES, 1)];
  const bytes = writeBundle(entries);
  expect(readBundle(bytes, name)).toEqual({ entries, problem: undefined });
  const more = readBundle(Buffer.concat([bytes, Buffer.of(0)]), name);
  expect(more.problem).toBe('tile/entries/000.p/3 has 1 bytes after its last entry');
  expect(readBundle(bytes.subarray(0, -1), name)).toMatchObject({
    entries: entries.slice(0, 2),
    problem: 'tile/entries/000.p/3 ends early',
  });
  expect(readBundle(Buffer.of(0), { ...name, width: 1 }).problem).toMatch(/ends early/);
  expect(() => writeBundle([Buffer.alloc(MAX_ENTRY_BYTES + 1)])).toThrow(
    refusal('tlog', /65536 bytes, at most 65535/),
  );
});

test('a tile of another length than its name says is refused', () => {
  const name = { level: 0, index: 0, width: 2 };
  expect(hashesOfTile(Buffer.alloc(64), name)).toHaveLength(2);
  for (const length of [0, 63, 65, 96])
    expect(() => hashesOfTile(Buffer.alloc(length), name)).toThrow(refusal('tlog', /64 are expected/));
});
