/** What the tests of a store are given. */
import type { Store } from '@chancery/ca/store/store.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { ManualClock } from '../manual-clock.ts';

/** Opens a database of this test's own; each time the same one, which a store has let go by then. */
export type OpenStore = (clock: Clock) => Promise<Store>;

/** The store of the running test. */
export interface Subject {
  readonly clock: ManualClock;
  readonly store: Store;
  /** Closes the store and opens it again. */
  restart(): Promise<void>;
}
