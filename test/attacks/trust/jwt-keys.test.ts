/** What brings a stolen JWT key back. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { ensureJwtKey } from '@chancery/ca/jwt/keys.ts';
import { beginLife } from '@chancery/ca/store/sqlite/file/second-life.ts';
import { openSqlite } from '@chancery/ca/store/sqlite/sqlite.ts';
import { afterAll, expect, test } from 'vitest';
import { memoryKeys } from '../../kit/ca/authority.ts';
import { NOW } from '../../kit/certificates.ts';
import { ManualClock } from '../../kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../kit/processes.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));

test('I198 a JWT key that was tainted after the backup stays away in the life after, and another one is made', async () => {
  const path = join(folder, 'ca.db');
  const clock = new ManualClock(NOW);
  const deps = { keys: memoryKeys(), clock, random: (size: number) => randomBytes(size) };
  const before = await openSqlite(path, clock);
  await ensureJwtKey({ ...deps, store: before });
  const [stolen] = (await before.allAuthorities()).jwtKeys;
  await before.close();
  const { serial = '' } = stolen ?? {};
  const moves = [{ serial, from: 'active', to: 'removed' }];
  const event = { type: 'jwtKey.tainted', serial, moves, reason: 'a drill', by: 'uid 0' };
  const lost = [{ at: NOW, event: JSON.stringify(event) }];
  beginLife(path, {
    now: NOW,
    backupAt: NOW,
    lost,
    entries: 0,
    holds: false,
    reason: undefined,
    by: 'the test',
  });
  const store = await openSqlite(path, clock);
  expect((await store.allAuthorities()).jwtKeys).toMatchObject([
    { serial, state: 'removed', taintedAt: NOW },
  ]);
  await ensureJwtKey({ ...deps, store });
  const { jwtKeys } = await store.allAuthorities();
  expect(jwtKeys.map(({ state }) => state)).toEqual(['removed', 'active']);
  await store.close();
});
