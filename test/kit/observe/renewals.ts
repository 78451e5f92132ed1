/** What an agent's status says of its renewals, waited for with bounds that hold on a busy machine. */

import { expect, vi } from 'vitest';
import { readStatus } from './status.ts';

/** Far beyond half a lifetime in any test: what takes longer hangs. */
const PATIENCE = { timeout: 100_000, interval: 50 };

type Status = Awaited<ReturnType<typeof readStatus>>;

/** Waits for another certificate than that of `serial`; gives the new one's serial. */
export const nextCertificate = (socket: string, serial: string): Promise<string> =>
  vi.waitFor(async () => {
    const status = await readStatus(socket);
    expect(status).toMatchObject({ expired: false, renewalFailure: null });
    expect(status.serial).not.toBe(serial);
    return status.serial;
  }, PATIENCE);

/**
 * Waits until a renewal has failed for this reason, and gives the status of that moment: the certificate of before is
 * still good. One status says both, so that no time passes in between.
 */
export const failedRenewal = (socket: string, reason: RegExp): Promise<Status> =>
  vi.waitFor(async () => {
    const status = await readStatus(socket);
    expect(status.renewalFailure).toMatch(reason);
    expect(status.expired).toBe(false);
    return status;
  }, PATIENCE);
