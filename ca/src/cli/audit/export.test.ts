/** What `audit export` says of events that it could not print. */
import { expect, test } from 'vitest';
import { lateLines } from './export.ts';

const now = new Date('2026-06-01T12:00:00Z');
const status = {
  ...{
    entries: 138n,
    pruned: 0n,
    keepSeconds: 0n,
    nextAt: 0n,
    together: 0n,
    lacking: 0n,
    certificateDays: 30n,
  },
  ...{ standstill: '', standstillSince: 0n, waiting: 0n, waitingSince: 0n },
};
const ago = (seconds: number) => BigInt(now.getTime() / 1000 - seconds);

test.each<[string, Partial<typeof status>, readonly string[]]>([
  ['nothing waits', {}, []],
  ['events of the last second wait', { waiting: 3n, waitingSince: ago(1) }, []],
  [
    'events wait for long',
    { waiting: 3n, waitingSince: ago(61) },
    ['3 events since', 'they are not printed'],
  ],
  [
    'the log does not grow',
    { standstill: 'no space', standstillSince: ago(5), waiting: 3n, waitingSince: ago(6) },
    ['the log does not grow since 2026-06-01T11:59:55.000Z: no space', '3 events since', 'they are not'],
  ],
])('I310 where %s', (_, more, lines) => {
  const found = lateLines({ ...status, ...more }, now);
  expect(found).toEqual(lines.map((line) => expect.stringContaining(line)));
});
