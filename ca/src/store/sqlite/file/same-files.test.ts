import { copyFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterAll, describe, expect, test } from 'vitest';
import { NOW } from '../../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../../../test/kit/processes.ts';
import { refusal } from '../../../../../test/kit/refusal.ts';
import { openSqlite, openSqliteThread } from '../sqlite.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));
const id = parseSpiffeId('spiffe://prod.example/web');
const event = { type: 'agent.acknowledged', id, sequence: 1 } as const;

describe.each([
  ['here', openSqlite],
  ['on a thread', openSqliteThread],
])('%s', (where, open) => {
  test.each<[string, RegExp, (path: string) => void]>([
    ['a database that was removed', /\.db was removed while/, (path) => rmSync(path)],
    ['a WAL that was removed', /\.db-wal was removed while/, (path) => rmSync(`${path}-wal`)],
    [
      'a database that was replaced by a copy',
      /\.db was replaced while the CA was running: nothing is signed any more\. Stop the CA/,
      (path) => {
        copyFileSync(path, `${path}.copy`);
        renameSync(`${path}.copy`, path);
      },
    ],
  ])('I59 %s takes no record any more', async (name, message, spoil) => {
    const path = join(folder, `${where} ${name}.db`.replaceAll(' ', '-'));
    const store = await open(path, new ManualClock(NOW));
    await store.append(event);
    spoil(path);
    await expect(store.append(event)).rejects.toThrow(refusal('store', message));
    expect(() => store.ensureOwnFiles()).toThrow(refusal('store', message));
    await expect(store.prune(NOW)).rejects.toThrow(refusal('store', message));
    const both = await Promise.allSettled([store.append(event), store.append(event)]);
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(await store.events(0, 9)).toHaveLength(1);
    await store.close();
  });
});
