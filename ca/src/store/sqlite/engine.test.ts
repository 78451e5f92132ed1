import { afterEach, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { memoryStore } from '../../../../test/kit/store/memory-store.ts';
import { event, issuance } from '../../../../test/kit/store/records.ts';
import { DerivedCertificates } from './holders/derived-certificates.ts';

afterEach(() => vi.restoreAllMocks());

test('derived certificates that have expired are forgotten a minute later', async () => {
  const add = vi.spyOn(DerivedCertificates.prototype, 'add');
  const clear = vi.spyOn(DerivedCertificates.prototype, 'clear');
  const clock = new ManualClock(NOW);
  const store = await memoryStore(clock);
  try {
    await store.record({ ...issuance, origin: '40cc' }, event);
    const size = () => (add.mock.contexts[0] as DerivedCertificates).size;
    expect(size()).toBe(1);
    clock.jump(after(119));
    await store.prune(NOW);
    expect(size()).toBe(1);
    clock.jump(after(120));
    await store.prune(NOW);
    expect(size()).toBe(0);
    // A clock that is corrected by seconds has nothing read again.
    await store.record({ ...issuance, serial: '40ab', notAfter: after(200) }, event);
    clock.jump(after(100));
    await store.record({ ...issuance, serial: '40ac', notAfter: after(200) }, event);
    expect(clear).not.toHaveBeenCalled();
    clock.jump(after(59));
    await store.record({ ...issuance, serial: '40ad', notAfter: after(200) }, event);
    expect(clear).toHaveBeenCalledOnce();
  } finally {
    await store.close();
  }
});
