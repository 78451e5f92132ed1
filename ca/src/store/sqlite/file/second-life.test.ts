import { join } from 'node:path';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NOW } from '../../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../../../test/kit/processes.ts';
import { openSqlite } from '../sqlite.ts';
import { beginLife } from './second-life.ts';

let folder: string;
beforeEach(() => {
  folder = makeFolder();
});
afterEach(() => removeFolder(folder));

test('I118 records that a copy of the log has are not taken again in the life after', async () => {
  const path = join(folder, 'ca.db');
  await (await openSqlite(path, new ManualClock(NOW))).close();
  const spool = { reporter: parseSpiffeId('spiffe://prod.example/gateway'), spool: 'ab'.repeat(16) };
  const record = { id: 'a', stage: 'decided', time: NOW.toISOString(), server: 's' };
  const event = (number: number) =>
    ({ type: 'call.recorded', ...spool, serial: '40aa', number, record }) as const;
  const lost = [1, 2, 3].map((number) => ({ at: NOW, event: JSON.stringify(event(number)) }));
  beginLife(path, { now: NOW, backupAt: NOW, lost, reason: undefined, by: 'the test' });
  const store = await openSqlite(path, new ManualClock(NOW));
  expect(await store.reportedThrough(spool)).toBe(3);
  const more = [3, 4].map((number) => ({
    ...event(number),
    record: { ...record, stage: 'decided' as const },
  }));
  expect(await store.report(spool, 1, more)).toBe(4);
  const events = (await store.events(0, 9)).map(({ event }) => event);
  expect(events.flatMap((each) => (each.type === 'call.recorded' ? [each.number] : []))).toEqual([
    1, 2, 3, 4,
  ]);
  await store.close();
});
