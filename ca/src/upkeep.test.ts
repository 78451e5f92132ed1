/** What the CA forgets by itself. */
import { cautiousTime } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { expect, test, vi } from 'vitest';
import { certifiedCaller, makeRpc } from '../../test/kit/ca/rpc.ts';
import { after } from '../../test/kit/certificates.ts';
import { KEPT_EXPIRED_MS } from './store/kept.ts';
import { startUpkeep } from './upkeep.ts';

const LEAP = 300 * 86_400;

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
