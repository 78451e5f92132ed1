/** What the CA forgets by itself. */
import { cautiousTime } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { expect, test, vi } from 'vitest';
import { certifiedCaller, makeRpc } from '../../test/kit/ca/rpc.ts';
import { after } from '../../test/kit/certificates.ts';
import { openFirstHour } from './store/clock-warning.ts';
import { KEPT_EXPIRED_MS } from './store/kept.ts';
import { startUpkeep } from './upkeep.ts';

const LEAP = 300 * 86_400;

const DUTIES = ['refresh', 'own', 'requests', 'prune'];

test.each(DUTIES)('I271 a duty that fails for long (%s) keeps no other from being done', async (failing) => {
  const rpc = await makeRpc();
  const done: string[] = [];
  const duty = (name: string) => async () => {
    if (name === failing) throw new Error('the home of its key is away');
    done.push(name);
  };
  vi.spyOn(rpc.authorities, 'refresh').mockImplementation(duty('refresh'));
  vi.spyOn(rpc.store, 'prune').mockImplementation(async () => {
    await duty('prune')();
    return 0;
  });
  const own = { settle: duty('own') } as Parameters<typeof startUpkeep>[0]['own'];
  const requests = { keepUp: duty('requests') };
  const cautious = () => rpc.clock.now();
  const upkeep = startUpkeep({ ...rpc, cautious, log: silentLog, own, requests });
  await vi.waitFor(() => expect(rpc.clock.sleeping).toBe(1));
  rpc.clock.advanceTo(after(61));
  const others = DUTIES.filter((name) => name !== failing);
  await vi.waitFor(() => expect(new Set(done)).toEqual(new Set(others)));
  await upkeep.close();
});

test.each([
  ['stay 30 days after their end', KEPT_EXPIRED_MS / 1000 + 59, KEPT_EXPIRED_MS / 1000 + 59, 1],
  ['go then', KEPT_EXPIRED_MS / 1000 + 61, KEPT_EXPIRED_MS / 1000 + 61, 0],
  ['I207 stay where the clock leapt ahead', LEAP, 60, 1],
])('records of certificates %s', async (_, wall, passed, left) => {
  const rpc = await makeRpc();
  await certifiedCaller(rpc, 60);
  let monotonic = 0;
  const cautious = cautiousTime(rpc.clock, () => monotonic);
  const pruned = vi.spyOn(rpc.store, 'prune');
  const own = { settle: async () => {} } as Parameters<typeof startUpkeep>[0]['own'];
  const requests = { keepUp: async () => {} };
  const upkeep = startUpkeep({ ...rpc, cautious, log: silentLog, own, requests });
  await vi.waitFor(() => expect(rpc.clock.sleeping).toBe(1));
  monotonic = passed * 1000;
  rpc.clock.advanceTo(after(wall));
  await vi.waitFor(() => expect(pruned.mock.settledResults.at(-1)?.value).toBe(0));
  await upkeep.close();
  expect(await rpc.store.issued({ limit: 9 })).toHaveLength(left);
});

test.each([
  [
    '100 days ahead',
    100,
    [/^the newest record is 100 days old: this CA was off for so long, or the clock is ahead;/],
  ],
  ['after four days', 4, [/^the newest record is 4 days old/]],
  ['after three days', 3, []],
])('I319 started %s, the first hour removes nothing, and the CA says why', async (_, days, says) => {
  const rpc = await makeRpc();
  await certifiedCaller(rpc, 60);
  const gap = days * 86_400;
  rpc.clock.advanceTo(after(gap));
  const warned: string[] = [];
  const log = { ...silentLog, warn: (_fields: object, text: string) => void warned.push(text) };
  let monotonic = 0;
  const cautious = cautiousTime(rpc.clock, () => monotonic);
  const hour = await openFirstHour({ ...rpc, cautious, log }, () => monotonic);
  expect(warned).toEqual(says.map((text) => expect.stringMatching(text)));
  expect([hour.doubt()]).toEqual([warned[0]]);
  expect(hour.gapSeconds()).toBe(gap);
  monotonic = 3_599_999;
  expect(hour.cautious()).toEqual(new Date(0));
  monotonic = 3_600_000;
  expect(hour.cautious()).toEqual(cautious());
  expect([hour.doubt(), hour.gapSeconds()]).toEqual([undefined, undefined]);
});
