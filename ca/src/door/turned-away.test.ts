import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { expect, test, vi } from 'vitest';
import { NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { turnedAwayLog } from './turned-away.ts';

test('I83 callers that are turned away are one line, and one with their number each minute', async () => {
  const clock = new ManualClock(NOW);
  const logged: object[] = [];
  const count = vi.fn();
  const log = turnedAwayLog({ clock, log: { warn: (fields) => void logged.push(fields) }, count });
  const strangers = { what: 'calls', whose: 'strangers' } as const;
  for (let n = 0; n < 1_000; n += 1) log.tell(strangers, `10.0.0.${n} starts exchanges faster than allowed`);
  log.tell({ what: 'connections', whose: 'anyone' }, '256 connections are open');
  expect(logged).toEqual([
    { ...strangers, detail: '10.0.0.0 starts exchanges faster than allowed' },
    { what: 'connections', whose: 'anyone', detail: '256 connections are open' },
  ]);
  expect(count).toHaveBeenCalledTimes(1_001);
  clock.advanceTo(addSeconds(NOW, 61));
  await vi.waitFor(() => expect(logged).toHaveLength(3));
  expect(logged[2]).toEqual({
    ...strangers,
    detail: '10.0.0.999 starts exchanges faster than allowed',
    count: 999,
    since: NOW,
  });
  log.close();
});
