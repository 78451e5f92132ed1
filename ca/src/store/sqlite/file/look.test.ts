import { copyFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NOW } from '../../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../../../test/kit/processes.ts';
import { event } from '../../../../../test/kit/store/records.ts';
import { openSqlite, openSqliteThread } from '../sqlite.ts';
import { lookAt } from './look.ts';
import type { Migrating } from './migrating.ts';
import { MIGRATIONS } from './schema.ts';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = makeFolder();
  path = join(folder, 'ca.db');
  const running = join(folder, 'running.db');
  const store = await openSqlite(running, new ManualClock(NOW));
  await store.append(event);
  // What a CA leaves behind that is killed.
  for (const end of ['', '-wal']) copyFileSync(`${running}${end}`, `${path}${end}`);
  await store.close();
});
afterEach(() => removeFolder(folder));

test('a look at the database of a killed CA reads its log and leaves no file behind', () => {
  const before = readdirSync(folder);
  expect(lookAt(path, join(folder, 'generation'))?.newestRecordAt).toEqual(NOW);
  expect(readdirSync(folder)).toEqual(before);
});

test('a look at the database of a CA that has ended leaves no file behind', () => {
  copyFileSync(join(folder, 'running.db'), path);
  rmSync(`${path}-wal`);
  const before = readdirSync(folder);
  expect(lookAt(path, join(folder, 'generation'))?.newestRecordAt).toEqual(NOW);
  expect(readdirSync(folder)).toEqual(before);
});

test('a look does not remove the index that another reader uses', () => {
  const reader = new DatabaseSync(path, { readOnly: true });
  try {
    reader.prepare('SELECT * FROM audit').all();
    const before = readdirSync(folder);
    expect(before).toContain('ca.db-shm');
    lookAt(path, join(folder, 'generation'));
    expect(readdirSync(folder)).toEqual(before);
  } finally {
    reader.close();
  }
});

test('of an older database it says the schema that serve brings it to and how many rows it has, and serve tells each step', async () => {
  const old = join(folder, 'old.db');
  const from = MIGRATIONS.length - 3;
  const db = new DatabaseSync(old);
  for (const step of MIGRATIONS.slice(0, from)) db.exec(step);
  db.exec(`
    INSERT INTO audit (sequence, at, event, leaf) VALUES (5, 0, '{}', 1), (6, 0, '{}', 1), (9, 0, '{}', 1);
    PRAGMA user_version = ${from}`);
  db.close();
  expect(lookAt(old, undefined)).toMatchObject({ schema: from, schemaOfToday: MIGRATIONS.length, rows: 5 });
  const steps: Migrating[] = [];
  const store = await openSqliteThread(old, new ManualClock(NOW), undefined, (at) => steps.push(at));
  await store.close();
  const to = MIGRATIONS.length;
  expect(steps).toEqual([1, 2, 3].map((n) => ({ from, step: from + n, to })));
  expect(lookAt(old, undefined)).toMatchObject({ schema: to });
  const again = await openSqliteThread(old, new ManualClock(NOW), undefined, (at) => steps.push(at));
  await again.close();
  expect(steps.length).toBe(3);
});

test('a new database has no step to tell', async () => {
  const store = await openSqliteThread(join(folder, 'new.db'), new ManualClock(NOW), undefined, () => {
    throw new Error('a step');
  });
  await store.close();
});
