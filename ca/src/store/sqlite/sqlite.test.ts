import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../../test/kit/processes.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { authority, event, issuance } from '../../../../test/kit/store/records.ts';
import { storeSuite } from '../../../../test/kit/store/suite.ts';
import type { Store } from '../store.ts';
import { MIGRATIONS } from './file/schema.ts';
import { openSqlite } from './sqlite.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));
let files = 0;
const freshPath = (): string => {
  files += 1;
  return join(folder, `${files}.db`);
};

let path: string;
let clock: ManualClock;
let store: Store;
/** The engine behind the store, to bring it into states that only a bad day does. */
let engine: DatabaseSync;
const exec = vi.spyOn(DatabaseSync.prototype, 'exec');
beforeEach(async () => {
  path = freshPath();
  clock = new ManualClock(NOW);
  store = await openSqlite(path, clock);
  engine = exec.mock.contexts.at(-1) as DatabaseSync;
});
afterEach(() => store.close());

describe('the file', () => {
  test('and its log are the owner’s alone, even where they were not', async () => {
    await store.append(event);
    expect([path, `${path}-wal`].map((name) => fs.statSync(name).mode & 0o777)).toEqual([0o600, 0o600]);
    await store.close();
    fs.chmodSync(path, 0o644);
    store = await openSqlite(path, clock);
    expect(fs.statSync(path).mode & 0o777).toBe(0o600);
  });

  test('is synced at each commit', () => {
    expect(engine.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 2 });
    expect(engine.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
  });

  test('is one store’s at a time', async () => {
    await expect(openSqlite(path, clock)).rejects.toThrow(
      refusal('store', /^\/.*\.db: another process holds it: is a chancery-ca already running/),
    );
  });

  test('of a newer program is refused, and let go', async () => {
    engine.exec('PRAGMA user_version = 99');
    await store.close();
    await expect(openSqlite(path, clock)).rejects.toThrow(
      refusal('store', /^the database has schema 99, this program knows \d+: run the newer chancery-ca$/),
    );
    const again = new DatabaseSync(path);
    again.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
    again.close();
    store = await openSqlite(path, clock);
  });

  test.each([
    ['no database', () => fs.writeFileSync(path, 'x'.repeat(4096)), /\.db: file is not a database$/],
    ['a folder', () => fs.mkdirSync(path), /\.db: a file is expected, found a folder/],
    ['I81 a pipe', () => execFileSync('mkfifo', [path]), /\.db: a regular file is expected, found a pipe$/],
  ])('that is %s is refused', async (_, spoil, message) => {
    await store.close();
    path = freshPath();
    spoil();
    await expect(openSqlite(path, clock)).rejects.toThrow(refusal('store', message));
    store = await openSqlite(':memory:', clock);
  });
});

storeSuite(() => {
  const own = freshPath();
  return (at) => openSqlite(own, at);
});

test('an authority that was damaged on disk is refused', async () => {
  engine.exec('PRAGMA ignore_check_constraints = ON');
  await store.saveAuthority({ ...authority, kind: 'leaf' as 'root', state: 'prepared' }, event);
  await expect(store.authorities()).rejects.toThrow(refusal('store', /authority kind leaf/));
});

test('a state of a node that could not be written is not told', async () => {
  const node = { platform: 'tpm', node: 'a' };
  await store.swapNodeState(node, undefined, '1');
  engine.exec('PRAGMA query_only = ON');
  await expect(store.swapNodeState(node, '1', '2')).rejects.toThrow(refusal('store', /readonly/));
  engine.exec('PRAGMA query_only = OFF');
  expect(await store.nodeState(node)).toBe('1');
});

test('a certificate that could not be written holds no key', async () => {
  engine.exec('PRAGMA query_only = ON');
  await expect(store.record(issuance, event)).rejects.toThrow(refusal('store', /readonly/));
  engine.exec('PRAGMA query_only = OFF');
  await store.record({ ...issuance, node: 'b' }, event);
});

test('a refused write among others costs no transaction of its own', async () => {
  await store.record({ ...issuance, serial: '01' }, event);
  exec.mockClear();
  const writes = ['02', '03', '04'].map((serial, n) =>
    store.record({ ...issuance, serial, node: n === 1 ? 'b' : 'a' }, event),
  );
  const statuses = (await Promise.allSettled(writes)).map(({ status }) => status);
  expect(statuses).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(exec.mock.calls.flat()).toEqual(['BEGIN IMMEDIATE', 'COMMIT']);
});

describe('a full disk', () => {
  const large = { ...issuance, serial: '02', identity: 'x'.repeat(100_000) };
  beforeEach(async () => {
    await store.record(issuance, event);
    // Migrations leave free pages.
    engine.exec('VACUUM');
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

  test('writing resumes when space is free', async () => {
    await expect(store.record(large, event)).rejects.toThrow(/no space left/);
    engine.exec('PRAGMA max_page_count = 100000');
    await store.record(large, event);
    expect(await store.events(0, 10)).toHaveLength(2);
  });
});

describe('an event that may be late', () => {
  let lone: Store;
  beforeEach(async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    lone = await openSqlite(':memory:', clock);
  });
  afterEach(async () => {
    vi.useRealTimers();
    await lone.close();
  });

  test('is written after a second where nothing else is', async () => {
    lone.appendSoon(event);
    vi.advanceTimersByTime(999);
    await setImmediate();
    expect(await lone.events(0, 9)).toEqual([]);
    vi.advanceTimersByTime(1);
    await setImmediate();
    expect(await lone.events(0, 9)).toHaveLength(1);
  });

  test('is written at once where 1,024 wait', async () => {
    for (let n = 1; n < 1_024; n += 1) lone.appendSoon(event);
    await setImmediate();
    expect(await lone.events(0, 9)).toEqual([]);
    lone.appendSoon(event);
    await setImmediate();
    expect(await lone.events(0, 2_000)).toHaveLength(1_024);
  });
});
