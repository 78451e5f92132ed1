/** What every store does, whatever keeps it: one suite that takes a store. */
import type { Store } from '@chancery/ca/store/store.ts';
import { afterEach, beforeEach } from 'vitest';
import { NOW } from '../certificates.ts';
import { ManualClock } from '../manual-clock.ts';
import { auditTests } from './audit.ts';
import { authorityTests } from './authorities.ts';
import { certificateTests } from './certificates.ts';
import { holdingTests } from './holdings.ts';
import { memoryTests } from './memory.ts';
import { operatorTests } from './operators/operators.ts';
import { raceTests } from './races.ts';
import { revocationTests } from './revocations.ts';
import { stateTests } from './state.ts';
import type { OpenStore, Subject } from './subject.ts';

/** `fresh` gives a database that has nothing in it. */
export function storeSuite(fresh: () => OpenStore): void {
  let open: OpenStore;
  let store: Store;
  let clock: ManualClock;
  beforeEach(async () => {
    clock = new ManualClock(NOW);
    open = fresh();
    store = await open(clock);
  });
  afterEach(() => store.close());
  const subject: Subject = {
    get clock() {
      return clock;
    },
    get store() {
      return store;
    },
    restart: async () => {
      await store.close();
      store = await open(clock);
    },
  };
  for (const tests of [
    ...[certificateTests, holdingTests, auditTests, authorityTests, stateTests],
    ...[revocationTests, memoryTests, raceTests, operatorTests],
  ])
    tests(subject);
}
