/** What is said while a database is brought to the schema of today. */
import type { Log } from '@chancery/shared/ground/log.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { migrationLog } from './migration-log.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test('a line when it begins, one every 2 s, and one at the end', () => {
  const lines: string[] = [];
  const tell = (fields: object, message: string): void =>
    void lines.push(`${JSON.stringify(fields)} ${message}`);
  const log: Log = { ...silentLog, info: tell, warn: tell };
  const { told, ended } = migrationLog(log);
  told({ from: 3, step: 4, to: 5 });
  vi.advanceTimersByTime(3_000);
  told({ from: 3, step: 5, to: 5 });
  vi.advanceTimersByTime(2_000);
  ended();
  vi.advanceTimersByTime(10_000);
  expect(lines).toEqual([
    expect.stringMatching(/^\{"from":3,"to":5\} the database is brought to the schema of this release/),
    '{"step":4,"to":5,"seconds":2} the schema is being changed',
    '{"step":5,"to":5,"seconds":4} the schema is being changed',
    '{"to":5,"seconds":5} the changes of the schema have ended',
  ]);
});

test('nothing where nothing is to be done', () => {
  const never = (): void => {
    throw new Error('a line');
  };
  migrationLog({ ...silentLog, info: never, warn: never }).ended();
});
