import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../../test/kit/processes.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import type { AuthorityRecord, Issuance, Store } from '../store.ts';
import { MIGRATIONS } from './file/schema.ts';
import { openSqlite } from './sqlite.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));
let files = 0;
const freshPath = (): string => {
  files += 1;
  return join(folder, `${files}.db`);
};

const id = parseSpiffeId('spiffe://prod.example/web');
const event = { type: 'agent.acknowledged', id, sequence: 1 } as const;
const issuance: Issuance = {
  serial: '40aa',
  id,
  platform: 'tpm',
  node: 'a',
  identity: 'web',
  keySha256: Buffer.alloc(32, 1),
  issuer: '40bb',
  notBefore: NOW,
  notAfter: after(60),
};
const authority: AuthorityRecord = {
  serial: '40bb',
  kind: 'root',
  certificate: Buffer.from('der'),
  notAfter: after(3600),
};

let path: string;
let clock: ManualClock;
let store: Store;
/** The engine behind the store, to bring it into states that only a bad day does. */
let engine: DatabaseSync;
const exec = vi.spyOn(DatabaseSync.prototype, 'exec');
beforeEach(() => {
  path = freshPath();
  clock = new ManualClock(NOW);
  store = openSqlite(path, clock);
  engine = exec.mock.contexts.at(-1) as DatabaseSync;
});
afterEach(() => store.close());

describe('the file', () => {
  test('and its log are the owner’s alone, even where they were not', async () => {
    await store.append(event);
    expect([path, `${path}-wal`].map((name) => fs.statSync(name).mode & 0o777)).toEqual([0o600, 0o600]);
    await store.close();
    fs.chmodSync(path, 0o644);
    store = openSqlite(path, clock);
    expect(fs.statSync(path).mode & 0o777).toBe(0o600);
  });

  test('is synced at each commit', () => {
    expect(engine.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 2 });
    expect(engine.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
  });

  test('is one store’s at a time', () => {
    expect(() => openSqlite(path, clock)).toThrow(
      refusal('store', /^\/.*\.db: another process holds it: is a chancery-ca already running/),
    );
  });

  test('of a newer program is refused, and let go', async () => {
    engine.exec('PRAGMA user_version = 99');
    await store.close();
    expect(() => openSqlite(path, clock)).toThrow(
      refusal('store', /^the database has schema 99, this program knows \d+: run the newer chancery-ca$/),
    );
    const again = new DatabaseSync(path);
    again.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
    again.close();
    store = openSqlite(path, clock);
  });

  test.each([
    ['no database', () => fs.writeFileSync(path, 'x'.repeat(4096)), /\.db: file is not a database$/],
    ['a folder', () => fs.mkdirSync(path), /\.db: a file is expected, found a folder/],
    ['I81 a pipe', () => execFileSync('mkfifo', [path]), /\.db: a regular file is expected, found a pipe$/],
  ])('that is %s is refused', async (_, spoil, message) => {
    await store.close();
    path = freshPath();
    spoil();
    expect(() => openSqlite(path, clock)).toThrow(refusal('store', message));
    store = openSqlite(':memory:', clock);
  });
});

describe('issuances', () => {
  const record = (changes: Partial<Issuance>) => store.record({ ...issuance, ...changes }, event);
  const serials = async (query: Parameters<Store['issued']>[0]) =>
    (await store.issued(query)).map(({ serial }) => serial);

  test('are read as they were written, across a restart', async () => {
    await record({});
    await store.close();
    store = openSqlite(path, clock);
    expect(await store.issuance('40aa')).toEqual({ ...issuance, recordedAt: NOW });
    expect(await store.issuance('40ab')).toBeUndefined();
    expect(await store.events(0, 10)).toEqual([{ sequence: 1, at: NOW, event }]);
  });

  test('are listed newest first, by SPIFFE ID where asked', async () => {
    const other = parseSpiffeId('spiffe://prod.example/other');
    await record({ serial: '01' });
    await record({ serial: '03', id: other });
    await record({ serial: '02' });
    expect(await serials({ limit: 10 })).toEqual(['02', '03', '01']);
    expect(await serials({ limit: 1 })).toEqual(['02']);
    expect(await serials({ limit: 10, id: other })).toEqual(['03']);
  });

  test('with a serial that is there are refused with their audit entry, and their neighbours kept', async () => {
    const answers = await Promise.allSettled([
      record({ serial: '01' }),
      record({ serial: '01' }),
      record({ serial: '02' }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(answers[1]).toMatchObject({ reason: refusal('store', /UNIQUE constraint failed/) });
    expect(await serials({ limit: 10 })).toEqual(['02', '01']);
    expect(await store.events(0, 10)).toHaveLength(2);
  });

  test.each<[string, Partial<Issuance>, boolean]>([
    ['another node', { node: 'b' }, true],
    ['another platform', { platform: 'unix' }, true],
    ['the same node', {}, false],
    ['another node until just now', { node: 'b', notAfter: NOW }, false],
    ['another node with another key', { node: 'b', keySha256: Buffer.alloc(32, 2) }, false],
  ])('tell a key that is held by %s', async (_, changes, elsewhere) => {
    await record(changes);
    expect(await store.keyHeldElsewhere(issuance.keySha256, issuance, NOW)).toBe(elsewhere);
  });

  test('tell after a restart which keys are held, until they expire', async () => {
    await record({ node: 'b', notAfter: after(60) });
    await store.close();
    store = openSqlite(path, clock);
    expect(await store.keyHeldElsewhere(issuance.keySha256, issuance, NOW)).toBe(true);
    expect(await store.keyHeldElsewhere(issuance.keySha256, issuance, after(61))).toBe(false);
  });

  test('are pruned when they have expired, never before', async () => {
    await record({ serial: '01', notAfter: after(-1) });
    await record({ serial: '02', notAfter: NOW });
    await record({ serial: '03', notAfter: after(1) });
    expect(await store.prune(NOW)).toBe(1);
    expect(await serials({ limit: 10 })).toEqual(['03', '02']);
    expect(await store.prune(NOW)).toBe(0);
  });
});

test('audit entries are read in order, page by page', async () => {
  for (const sequence of [1, 2, 3]) await store.append({ ...event, sequence });
  const read = async (from: number, limit: number) =>
    (await store.events(from, limit)).map(({ sequence }) => sequence);
  expect(await read(0, 2)).toEqual([1, 2]);
  expect(await read(2, 2)).toEqual([3]);
});

describe('authorities', () => {
  test('are read as they were written, the first to end first', async () => {
    const sooner = { ...authority, serial: '40cc', kind: 'intermediate', notAfter: after(60) } as const;
    await store.saveAuthority(authority, event);
    await store.saveAuthority(sooner, event);
    expect(await store.authorities()).toEqual([sooner, authority]);
    expect(await store.events(0, 10)).toHaveLength(2);
  });

  test.each<[string, AuthorityRecord, RegExp]>([
    ['a serial that is there', authority, /UNIQUE constraint failed/],
    ['a kind that is none', { ...authority, serial: '01', kind: 'leaf' as 'root' }, /CHECK constraint/],
  ])('with %s are refused', async (_, record, message) => {
    await store.saveAuthority(authority, event);
    await expect(store.saveAuthority(record, event)).rejects.toThrow(refusal('store', message));
    expect(await store.events(0, 10)).toHaveLength(1);
  });

  test('damaged on disk are refused', async () => {
    engine.exec('PRAGMA ignore_check_constraints = ON');
    await store.saveAuthority({ ...authority, kind: 'leaf' as 'root' }, event);
    await expect(store.authorities()).rejects.toThrow(refusal('store', /authority kind leaf/));
  });
});

describe('the registry', () => {
  test('is the newest version', async () => {
    expect(await store.registry()).toBeUndefined();
    await store.saveRegistry({ version: 1, resources: '[]' }, event);
    await store.saveRegistry({ version: 2, resources: '[1]' }, event);
    expect(await store.registry()).toEqual({ version: 2, resources: '[1]' });
  });

  test.each([1, 3])('refuses version %i after 1, and its audit entry', async (version) => {
    await store.saveRegistry({ version: 1, resources: '[]' }, event);
    const late = store.saveRegistry({ version, resources: '[2]' }, event);
    await expect(late).rejects.toThrow(
      refusal('store', new RegExp(`^registry is at version 1, not ${version - 1}$`)),
    );
    expect(await store.registry()).toEqual({ version: 1, resources: '[]' });
    expect(await store.events(0, 10)).toHaveLength(1);
  });
});

describe('what a node was', () => {
  const previous: (string | undefined)[] = [];
  const advance = (node: string, to: string) =>
    store.advance('tpm', node, (before) => {
      previous.push(before);
      return to;
    });

  test('is given to the next, each node and platform for itself', async () => {
    previous.length = 0;
    await advance('a', '1');
    await advance('a', '2');
    await advance('b', '9');
    await store.advance('unix', 'a', (before) => before ?? 'none');
    await advance('a', '3');
    expect(previous).toEqual([undefined, '1', undefined, '2']);
  });

  test('stays where the next throws, whose refusal comes out as it is', async () => {
    await advance('a', '1');
    const refused = store.advance('tpm', 'a', () => {
      throw refusedBy;
    });
    await expect(refused).rejects.toBe(refusedBy);
    previous.length = 0;
    await advance('a', '2');
    expect(previous).toEqual(['1']);
  });

  test('is not told of a change that could not be written', async () => {
    await advance('a', '1');
    engine.exec('PRAGMA query_only = ON');
    await expect(advance('a', '2')).rejects.toThrow(refusal('store', /readonly/));
    engine.exec('PRAGMA query_only = OFF');
    previous.length = 0;
    await advance('a', '3');
    expect(previous).toEqual(['1']);
  });
});
const refusedBy = Object.assign(new Error('went backwards'), { name: 'IdentityError', code: 'rollback' });

describe('a full disk', () => {
  const large = { ...issuance, serial: '02', identity: 'x'.repeat(100_000) };
  beforeEach(async () => {
    await store.record(issuance, event);
    const { page_count: pages } = engine.prepare('PRAGMA page_count').get() ?? {};
    engine.exec(`PRAGMA max_page_count = ${Number(pages)}`);
  });

  test('is said as such, and nothing is half-written', async () => {
    const full = refusal(
      'store',
      /\.db: no space left on its disk. Free some; a CA that runs then continues by itself$/,
    );
    await expect(store.record(large, event)).rejects.toThrow(full);
    const audit = store.append({
      ...event,
      type: 'registry.applied',
      by: '',
      changes: [large.identity],
      version: 1,
    });
    await expect(audit).rejects.toThrow(full);
    expect(await store.issued({ limit: 10 })).toHaveLength(1);
    expect(await store.events(0, 10)).toHaveLength(1);
  });

  test('that has space again is written on', async () => {
    await expect(store.record(large, event)).rejects.toThrow(/no space left/);
    engine.exec('PRAGMA max_page_count = 100000');
    await store.record(large, event);
    expect(await store.events(0, 10)).toHaveLength(2);
  });
});

test('after close, everything is a refusal', async () => {
  const waiting = store.append(event);
  await store.close();
  await waiting;
  await expect(store.append(event)).rejects.toThrow(refusal('store', /database is not open/));
  await expect(store.events(0, 1)).rejects.toThrow(refusal('store', /finalized|not open/));
  store = openSqlite(':memory:', clock);
});

test('certificates with an origin are counted by node, across a restart, and one that failed is not', async () => {
  const guest = (n: number) => ({
    ...issuance,
    serial: n.toString(16).padStart(8, '0'),
    origin: '40aa',
    node: 'g',
  });
  const many = Array.from({ length: 9_999 }, (_, n) => store.record(guest(n), event));
  await Promise.all(many);
  await expect(store.record(guest(0), event)).rejects.toThrow(refusal('store', /UNIQUE/));
  await store.record(guest(10_000), event);
  await store.close();
  store = openSqlite(path, clock);
  const full = /^tpm\/g has 10000 valid certificates by IssueX509$/;
  await expect(store.record(guest(10_001), event)).rejects.toThrow(refusal('rate', full));
  clock.advanceTo(after(60));
  await store.record({ ...guest(10_002), notAfter: after(120) }, event);
});
