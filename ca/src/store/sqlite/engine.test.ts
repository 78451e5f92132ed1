import { afterEach, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { memoryStore } from '../../../../test/kit/store/memory-store.ts';
import { event, issuance } from '../../../../test/kit/store/records.ts';
import { DerivedCertificates } from './holders/derived-certificates.ts';
import { KeyHolders } from './holders/key-holders.ts';

afterEach(() => vi.restoreAllMocks());

test('keys and derived certificates that have expired are forgotten a minute later', async () => {
  const loads = [
    vi.spyOn(KeyHolders.prototype, 'load'),
    vi.spyOn(DerivedCertificates.prototype, 'load'),
  ] as const;
  const clock = new ManualClock(NOW);
  const store = await memoryStore(clock);
  try {
    await store.record({ ...issuance, origin: '40cc' }, event);
    const sizes = () => loads.map(({ mock }) => (mock.contexts[0] as KeyHolders | DerivedCertificates).size);
    expect(sizes()).toEqual([1, 1]);
    clock.jump(after(119));
    await store.prune(NOW);
    expect(sizes()).toEqual([1, 1]);
    clock.jump(after(120));
    await store.prune(NOW);
    expect(sizes()).toEqual([0, 0]);
    // A clock that is corrected by seconds has nothing read again: the only load is that of the record.
    await store.record({ ...issuance, serial: '40ab', notAfter: after(200) }, event);
    clock.jump(after(100));
    const [keys] = loads;
    keys.mockClear();
    await store.record({ ...issuance, serial: '40ac', notAfter: after(200) }, event);
    expect(keys).toHaveBeenCalledOnce();
  } finally {
    await store.close();
  }
});
