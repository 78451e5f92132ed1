import { afterEach, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { memoryStore } from '../../../../test/kit/store/memory-store.ts';
import { event, issuance } from '../../../../test/kit/store/records.ts';
import { Guests } from './holders/guests.ts';
import { KeyHolders } from './holders/key-holders.ts';

afterEach(() => vi.restoreAllMocks());

test('keys and guests whose certificates have expired are forgotten when the store is pruned', async () => {
  const loads = [vi.spyOn(KeyHolders.prototype, 'load'), vi.spyOn(Guests.prototype, 'load')] as const;
  const clock = new ManualClock(NOW);
  const store = await memoryStore(clock);
  try {
    await store.record({ ...issuance, origin: '40cc' }, event);
    const sizes = () => loads.map(({ mock }) => (mock.contexts[0] as KeyHolders | Guests).size);
    expect(sizes()).toEqual([1, 1]);
    clock.jump(after(60));
    await store.prune(NOW);
    expect(sizes()).toEqual([0, 0]);
  } finally {
    await store.close();
  }
});
