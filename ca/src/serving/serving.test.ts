/** What a CA that serves says of itself. */
import { expect, test } from 'vitest';
import { NOW } from '../../../test/kit/certificates.ts';
import { servingNow } from './serving.ts';

test('I311 what does not work while it issues is the first warning', async () => {
  const loaded = { settings: new Map(), files: new Map() };
  const [unfit, impaired] = [() => undefined, () => 'the audit log does not grow'];
  const serving = await servingNow({
    self: { version: '1', since: NOW, loaded, unfit, impaired, doubt: () => 'the clock' },
    clock: { now: () => NOW },
    keys: { standby: { has: async () => false } as never },
    store: { authorities: async () => [] },
    registry: { sets: { current: () => ({ version: 1, resources: [] }) } },
    revocations: { standing: () => [] },
  });
  expect([serving.unfit, ...serving.warnings.slice(0, 2)]).toEqual([undefined, impaired(), 'the clock']);
});
