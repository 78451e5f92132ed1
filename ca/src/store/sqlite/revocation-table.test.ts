import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterAll, beforeEach, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../../test/kit/processes.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import type { RevocationDraft } from '../store.ts';
import { MIGRATIONS } from './file/schema.ts';
import { openSqlite } from './sqlite.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));
let path: string;
let files = 0;
beforeEach(() => {
  files += 1;
  path = join(folder, `${files}.db`);
});

const clock = new ManualClock(NOW);
const id = parseSpiffeId('spiffe://prod.example/web');
const draft: RevocationDraft = {
  target: { kind: 'id', value: id },
  reason: 'superseded',
  by: 'uid 0',
  until: after(60),
};

test('a database of before there were revocations is brought up to date, with what it holds', async () => {
  const step = MIGRATIONS.findIndex((sql) => sql.includes('CREATE TABLE revocations'));
  const old = new DatabaseSync(path);
  for (const sql of MIGRATIONS.slice(0, step)) old.exec(sql);
  old.exec(`INSERT INTO registry VALUES (7, '[]', 0); PRAGMA user_version = ${step}`);
  old.close();
  const store = await openSqlite(path, clock);
  expect(await store.registry()).toMatchObject({ version: 7 });
  expect(await store.revocations()).toEqual({ list: [], sequence: 0n });
  await store.revoke(draft, 9);
  await store.close();
  const again = await openSqlite(path, clock);
  const made = { ...draft, number: 1, serials: [], at: NOW };
  expect(await again.revocations()).toEqual({ list: [made], sequence: 8n });
  await again.close();
});

test('a revocation and its audit entry are written together or not at all', async () => {
  const exec = vi.spyOn(DatabaseSync.prototype, 'exec');
  const store = await openSqlite(path, clock);
  const engine = exec.mock.contexts.at(-1) as DatabaseSync;
  const refuse = "BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'no event'); END";
  const noEvent = refusal('store', /no event$/);
  engine.exec(`CREATE TRIGGER broken ${refuse}`);
  await expect(store.revoke(draft, 9)).rejects.toThrow(noEvent);
  expect(await store.revocations()).toEqual({ list: [], sequence: 0n });
  engine.exec('DROP TRIGGER broken');
  await store.revoke(draft, 9);
  engine.exec(`CREATE TRIGGER broken ${refuse}`);
  await expect(store.lift(1, 'uid 0')).rejects.toThrow(noEvent);
  expect((await store.revocations()).list).toHaveLength(1);
  expect(await store.events(0, 9)).toHaveLength(1);
  await store.close();
});

test.each([
  ["kind = 'name'", /CHECK constraint failed/],
  ["reason = 'because'", /is not a reason/],
  ["value = 'web'", /SPIFFE ID does not start/],
])('a damaged row (%s) is not loaded as if it revoked nobody', async (change, message) => {
  const store = await openSqlite(path, clock);
  await store.revoke(draft, 9);
  await store.close();
  const engine = new DatabaseSync(path);
  const damage = async () => {
    engine.exec(`UPDATE revocations SET ${change}`);
    engine.close();
    const damaged = await openSqlite(path, clock);
    await damaged.revocations().finally(() => damaged.close());
  };
  await expect(damage()).rejects.toThrow(message);
  if (engine.isOpen) engine.close();
});
