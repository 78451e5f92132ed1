/** What one client, and all together, may ask of the CA, as its config says. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { type LimitSettings, Limits } from './limits.ts';
import { PersonShares } from './person-shares.ts';
import { ReportRoom } from './report-room.ts';

interface RateSettings {
  readonly dataDir: string;
  readonly limits: LimitSettings & { readonly reportedBytesPerDay: number };
}

/** Needs no closing. */
export const openRates = ({ dataDir: folder, limits }: RateSettings, clock: Clock) => ({
  limits: new Limits(limits, clock),
  reportRoom: new ReportRoom({ folder, bytesPerDay: limits.reportedBytesPerDay, clock }),
  shares: new PersonShares(),
});
