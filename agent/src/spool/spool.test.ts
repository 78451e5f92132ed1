import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { Spool } from './spool.ts';

const MAX_BYTES = 64 * 1024;
const NOW = { durable: false, spare: 0 };

let dir: string;
let folder: string;
let spool: Spool;
const open = (maxBytes = MAX_BYTES) => new Spool({ folder, maxBytes });
beforeEach(() => {
  dir = makeFolder();
  folder = join(dir, 'spool');
  spool = open();
});
afterEach(() => {
  vi.restoreAllMocks();
  removeFolder(dir);
});

const record = (n: number, length = 10): string => JSON.stringify({ id: `${n}`, reason: 'x'.repeat(length) });
const append = (from: number, to: number, length?: number): void => {
  for (let n = from; n <= to; n += 1) spool.append([record(n, length)], NOW);
};
/** What comes after a number, message by message; the CA has the spools of before, then. */
function readAll(after = 0): (string | undefined)[] {
  const all: (string | undefined)[] = [];
  for (let { id } = spool; ; id = spool.id) {
    for (let batch = spool.read(after); batch !== undefined; batch = spool.read(after)) {
      expect(batch.first).toBe(after + 1);
      all.push(...batch.records);
      after += batch.records.length;
    }
    if (id === begun()) return all;
    spool.acknowledge(after);
  }
}
/** The spool that this process writes to. */
const begun = () => fs.readdirSync(folder).toSorted(byNumber).at(-1)?.slice(0, 32);
const byNumber = (a: string, b: string) => a.slice(33).localeCompare(b.slice(33));
const records = (from: number, to: number, length?: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => record(from + index, length));
const files = () => fs.readdirSync(folder).map((name) => join(folder, name));
const again = (): void => {
  spool.close();
  spool = open();
};

test('records are read in their order, in messages of a bounded size', () => {
  append(1, 1200);
  expect(spool.read(0)).toMatchObject({ first: 1, more: true });
  expect(spool.read(0)?.records).toHaveLength(512);
  expect(readAll()).toEqual(records(1, 1200));
  expect(readAll(1100)).toEqual(records(1101, 1200));
  expect(spool.read(1200)).toBeUndefined();
});

test('a message has at most 256 KiB', () => {
  spool.close();
  spool = open(1024 * 1024);
  append(1, 20, 30_000);
  expect(spool.read(0)?.records).toHaveLength(8);
  expect(readAll()).toEqual(records(1, 20, 30_000));
});

test('files are for the owner alone', () => {
  expect(fs.statSync(folder).mode & 0o777).toBe(0o700);
  for (const file of files()) expect(fs.statSync(file).mode & 0o777).toBe(0o600);
});

test('another process goes on with the numbers of the one before, in another spool', () => {
  append(1, 300);
  const { id } = spool;
  again();
  append(301, 600);
  expect([spool.id, spool.oldest, spool.depth]).toEqual([id, 1, 600]);
  spool.acknowledge(299);
  expect([spool.id, spool.read(299)?.records]).toEqual([id, [record(300)]]);
  spool.acknowledge(300);
  expect([spool.id, spool.oldest, spool.depth]).toEqual([begun(), 301, 300]);
  expect(spool.id).not.toBe(id);
  // What the CA says of a spool that it does not know.
  spool.acknowledge(0);
  expect(spool.depth).toBe(300);
  expect(readAll(300)).toEqual(records(301, 600));
});

test('what was never written to leaves no file', () => {
  for (let starts = 0; starts < 3; starts += 1) again();
  expect(files()).toHaveLength(1);
  append(1, 1);
  again();
  again();
  expect(files()).toHaveLength(2);
});

test('segments whose records the CA has are removed, and the numbers go on', () => {
  append(1, 600);
  const before = files().length;
  expect(before).toBeGreaterThan(5);
  spool.acknowledge(400);
  expect(files().length).toBeLessThan(before);
  expect([spool.oldest > 1, spool.oldest <= 401, spool.depth]).toEqual([true, true, 200]);
  expect(readAll(400)).toEqual(records(401, 600));
  spool.acknowledge(600);
  expect([files().length, spool.depth]).toEqual([1, 0]);
  again();
  append(601, 601);
  expect(readAll(600)).toEqual(records(601, 601));
});

describe('M85 a spool that is full', () => {
  const full = refusal('audit_spool', /is full: the CA has not taken \d+ records yet/);
  const fill = () => append(1, 1, 100) ?? expect(() => append(2, 10_000, 100)).toThrow(full);

  test('refuses, within its bound, and takes more once the CA has some', () => {
    fill();
    expect(spool.bytes).toBeGreaterThan(MAX_BYTES - 200);
    expect(files().reduce((sum, file) => sum + fs.statSync(file).size, 0)).toBeLessThanOrEqual(MAX_BYTES);
    const { depth } = spool;
    spool.acknowledge(depth);
    append(depth + 1, depth + 100, 100);
    expect(readAll(depth)).toEqual(records(depth + 1, depth + 100, 100));
  });

  test('keeps bytes to spare for those that ask for it', () => {
    expect(() => spool.append([record(1)], { durable: false, spare: MAX_BYTES })).toThrow(full);
    spool.append([record(1)], NOW);
  });
});

describe('M86 what a kill or a disk leaves', () => {
  const last = () => files().toSorted().at(-1) ?? '';

  test.each<[string, (text: Buffer) => Buffer]>([
    ['half a record', (text) => text.subarray(0, -9)],
    ['a record without its end of line', (text) => text.subarray(0, -1)],
    ['zeros', (text) => Buffer.concat([text.subarray(0, -20), Buffer.alloc(4096)])],
    ['a record with another byte at its end', (text) => text.fill('y', text.length - 6, text.length - 5)],
  ])('%s at the end is cut off, and its number is the next one’s', (_name, spoil) => {
    append(1, 3);
    fs.writeFileSync(last(), spoil(fs.readFileSync(last())));
    again();
    append(3, 5);
    expect(readAll()).toEqual(records(1, 5));
  });

  test.each<[string, (lines: string[]) => string]>([
    ['another byte', ([one = '', two, ...more]) => [one, two?.replace('x', 'y'), ...more].join('\n')],
    ['an end of line less', ([one, two, three, ...more]) => [one, `${two}${three}`, ...more].join('\n')],
    ['a line less', ([one, , ...more]) => [one, ...more].join('\n')],
    ['another number', ([one, two = '', ...more]) => [one, two.replace(' 2 ', ' 9 '), ...more].join('\n')],
  ])('%s in the middle spoils that record, and no number moves', (_name, spoil) => {
    append(1, 5);
    fs.writeFileSync(last(), spoil(fs.readFileSync(last(), 'utf8').split('\n')));
    again();
    const found = readAll();
    expect([found.length, found[1], found[4]]).toEqual([5, undefined, record(5)]);
  });

  test('a segment that is gone is so many spoiled records', () => {
    append(1, 400);
    const [, second = ''] = files().toSorted();
    fs.rmSync(second);
    again();
    const found = readAll();
    expect(found).toHaveLength(400);
    expect(found.filter((each) => each === undefined).length).toBeGreaterThan(50);
    expect(found.at(-1)).toBe(record(400));
  });

  test('a segment that was begun and has nothing', () => {
    append(1, 3);
    fs.writeFileSync(join(folder, `${spool.id}-0000000000000002.spool`), '');
    again();
    append(4, 4);
    expect(readAll()).toEqual(records(1, 4));
  });
});

describe('M87 a disk that is full', () => {
  const noSpace = Object.assign(new Error('ENOSPC: no space left on device, write'), {
    code: 'ENOSPC',
    syscall: 'write',
  });

  test('in the middle of a write: nothing of it stays, and the next write is whole', () => {
    append(1, 2);
    const { writeFileSync } = fs;
    vi.spyOn(fs, 'writeFileSync').mockImplementationOnce((fd, text) => {
      writeFileSync(fd, String(text).slice(0, 30));
      throw noSpace;
    });
    const says = refusal('audit_spool', /could not be recorded: no space left/);
    expect(() => spool.append([record(3), record(4)], NOW)).toThrow(says);
    append(3, 4);
    again();
    expect(readAll()).toEqual(records(1, 4));
  });

  test('a write that cannot be taken back at once is taken back before the next', () => {
    append(1, 2);
    const { writeFileSync } = fs;
    vi.spyOn(fs, 'writeFileSync').mockImplementationOnce((fd, text) => {
      writeFileSync(fd, String(text));
      throw noSpace;
    });
    vi.spyOn(fs, 'ftruncateSync').mockImplementationOnce(() => {
      throw noSpace;
    });
    expect(() => append(3, 3, 99)).toThrow(/no space/);
    append(3, 3);
    expect(readAll()).toEqual(records(1, 3));
  });

  test('a sync that fails is a record that is not kept, where that is asked for', () => {
    vi.spyOn(fs, 'fdatasyncSync').mockImplementationOnce(() => {
      throw noSpace;
    });
    expect(() => spool.append([record(1)], { durable: true, spare: 0 })).toThrow(/no space/);
    append(1, 1);
    expect(readAll()).toEqual(records(1, 1));
  });
});

/** Of a megabyte; undefined if this process may not mount one. */
function mountDisk(at: string): { readonly unmount: () => void } | undefined {
  fs.mkdirSync(at);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', at], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  return { unmount: () => void execFileSync('umount', [at]) };
}

test('M87 a real disk that is full: every record that was taken is there, and there is room again after', ({
  skip,
}) => {
  spool.close();
  const disk = mountDisk(join(dir, 'disk'));
  if (disk === undefined) return skip('a tmpfs cannot be mounted here');
  try {
    folder = join(dir, 'disk', 'spool');
    spool = open(64 * 1024 * 1024);
    let taken = 0;
    const fill = (): void => {
      for (;;) {
        spool.append([record(taken + 1, 3_000)], NOW);
        taken += 1;
      }
    };
    expect(fill).toThrow(refusal('audit_spool', /no space left on its disk/));
    expect(taken).toBeGreaterThan(200);
    expect(readAll()).toEqual(records(1, taken, 3_000));
    spool.close();
    spool = open(64 * 1024 * 1024);
    expect(readAll()).toEqual(records(1, taken, 3_000));
    expect(fill).toThrow(/no space left/);
  } finally {
    spool.close();
    disk.unmount();
  }
});

test('M89 a folder that is older than what the CA has is another spool, and nothing is taken for old', () => {
  append(1, 10);
  const { id } = spool;
  spool.acknowledge(25);
  expect(spool.id).not.toBe(id);
  append(11, 12);
  expect(readAll()).toEqual(records(1, 12));
  const renamed = spool.id;
  again();
  expect([spool.id, spool.depth]).toEqual([renamed, 12]);
  append(13, 14);
  // Of what was there at the start, the CA has more than this folder.
  spool.acknowledge(13);
  expect([spool.id === renamed, spool.oldest, spool.depth]).toEqual([false, 1, 14]);
  expect(readAll()).toEqual(records(1, 14));
});

describe('M100 a folder of which somebody has a copy', () => {
  /** What the CA keeps, by the numbers of each spool. */
  const has = new Map<string, Map<number, string | undefined>>();
  const take = (from: Spool): void => {
    while (from.depth > 0) {
      const { id } = from;
      const known = has.get(id) ?? new Map<number, string | undefined>();
      has.set(id, known);
      const through = () => Math.max(0, ...known.keys());
      from.acknowledge(through());
      if (from.id !== id) continue;
      const { first, records } = from.read(through()) ?? { first: 0, records: [] };
      for (const [index, json] of records.entries())
        known.set(first + index, known.get(first + index) ?? json);
      from.acknowledge(through());
    }
  };
  const kept = () => [...has.values()].flatMap((each) => [...each.values()]);
  beforeEach(() => has.clear());

  test('two gateways that go on from it lose nothing', () => {
    append(1, 2);
    spool.acknowledge(1);
    has.set(spool.id, new Map([[1, record(1)]]));
    spool.close();
    fs.cpSync(folder, join(dir, 'clone'), { recursive: true });
    spool = open();
    const clone = new Spool({ folder: join(dir, 'clone'), maxBytes: MAX_BYTES });
    append(3, 5);
    take(spool);
    clone.append(records(103, 107), NOW);
    take(clone);
    clone.close();
    expect(kept()).toEqual([...records(1, 5), ...records(103, 107)]);
  });

  test('an older copy that is put back, and has more before the CA is reached, loses nothing', () => {
    append(1, 2);
    take(spool);
    fs.cpSync(folder, join(dir, 'copy'), { recursive: true });
    append(3, 5);
    take(spool);
    spool.close();
    fs.rmSync(folder, { recursive: true });
    fs.renameSync(join(dir, 'copy'), folder);
    spool = open();
    append(103, 109);
    take(spool);
    expect(kept()).toEqual(expect.arrayContaining([...records(1, 5), ...records(103, 109)]));
  });
});

test('M101 a sync that cannot begin is asked for again: nothing is sent that is not on the disk', async () => {
  append(1, 1);
  const noFile = Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' });
  const opening = vi.spyOn(fs, 'openSync').mockImplementationOnce(() => {
    throw noFile;
  });
  await expect(spool.sync()).rejects.toBe(noFile);
  await spool.sync();
  expect(opening).toHaveBeenCalledTimes(2);
  await spool.sync();
  expect(opening).toHaveBeenCalledTimes(2);
});

test('the oldest record that the CA does not have', () => {
  expect(spool.oldestUnsent()).toBeUndefined();
  append(1, 3);
  expect(spool.oldestUnsent()).toBe(record(1));
  spool.acknowledge(2);
  expect(spool.oldestUnsent()).toBe(record(3));
  spool.acknowledge(3);
  expect(spool.oldestUnsent()).toBeUndefined();
});
