/** What `audit status` says. */
import { expect, test } from 'vitest';
import { statusLines } from './status.ts';

const status = {
  entries: 200_000n,
  pruned: 65_536n,
  keepSeconds: 400n * 86_400n,
  nextAt: 1_780_315_200n,
  together: 65_536n,
  lacking: 0n,
  certificateDays: 30n,
  standstill: '',
  standstillSince: 0n,
  waiting: 0n,
  waitingSince: 0n,
};

test.each<[string, Partial<typeof status>, RegExp]>([
  ['when the next go', {}, /kept for 400 d.*\nthe next 65536 go at 2026-06-01T12:00:00\.000Z/],
  ['how many must come', { nextAt: 0n, lacking: 7n }, /none can go before 7 more have come/],
  ['that the index is behind', { nextAt: 0n }, /not known yet/],
  ['that nothing goes', { keepSeconds: 0n, nextAt: 0n }, /are pruned\nentries are kept for ever .*\nrecords/],
  [
    'that the log does not grow',
    { standstill: 'no space', standstillSince: 1_780_315_200n, waiting: 49n, waitingSince: 1_780_315_000n },
    /signed.*\nthe log does not grow since 2026-06-01T12:00:00\.000Z: no space\n49 events since 2026-06-01T11:5/,
  ],
  ['hours', { keepSeconds: 36n * 3600n }, /kept for 36 h/],
])('%s', (_, more, says) => {
  expect(statusLines({ ...status, ...more }).join('\n')).toMatch(says);
});
