import { copyFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NOW } from '../../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../../../test/kit/processes.ts';
import { event } from '../../../../../test/kit/store/records.ts';
import { openSqlite } from '../sqlite.ts';
import { lookAt } from './look.ts';

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
