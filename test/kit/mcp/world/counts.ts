/** The counts of a gateway, for tests. */
import { type Counts, OwnCounts } from '@chancery/agent/mcp/gateway/counts.ts';

/** Of one gateway that shares with none, on the machine's monotonic clock. */
export const countsAlone = (): Counts =>
  new OwnCounts({ ofRates: () => 1, ofPlaces: () => 1, monotonic: () => performance.now() });
