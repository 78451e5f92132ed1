/** What `check` says before `serve` changes the schema of a database. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeFolder, removeFolder } from '../../../../test/kit/processes.ts';
import { parseCaConfig } from '../../config.ts';
import { MIGRATIONS } from '../../store/sqlite/file/schema.ts';
import { dataAttempts, type Migration, migrationLine } from './data.ts';

let dir: string;
beforeEach(() => {
  dir = makeFolder();
  mkdirSync(join(dir, 'data'));
});
afterEach(() => removeFolder(dir));

async function migrationOf(schema: number): Promise<Migration | undefined> {
  const db = new DatabaseSync(join(dir, 'data', 'ca.db'));
  for (const step of MIGRATIONS.slice(0, schema)) db.exec(step);
  db.exec(`PRAGMA user_version = ${schema}`);
  db.close();
  const text = 'trustDomain: a.example\ndataDir: data\nkeyEncryptionKey: kek\nattestors: { unix: {} }\n';
  const found: Migration[] = [];
  const on = { serving: () => {}, migration: (each: Migration) => void found.push(each) };
  // That there is no root is what else they find.
  for (const attempt of dataAttempts(parseCaConfig(text, join(dir, 'ca.yaml')), () => {}, on))
    await Promise.try(attempt).catch(() => {});
  return found[0];
}

test('from which schema to which, and how many rows there are', async () => {
  const from = MIGRATIONS.length - 1;
  const found = await migrationOf(from);
  expect(found).toEqual({ from, to: MIGRATIONS.length, rows: 0 });
  const says = migrationLine({ from: 3, to: 5, rows: 2_000_000 });
  expect(says).toMatch(/^serve will change the database from schema 3 to 5 first, with about 2000000 rows/);
});

test('nothing of one that is as it should be', async () => {
  expect(await migrationOf(MIGRATIONS.length)).toBeUndefined();
});
