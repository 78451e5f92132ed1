/**
 * Room for what gateways report. The disk of the database is needed for issuance, which does not go on without its
 * records: what gateways have can wait on their own disks.
 */
import fs from 'node:fs';
import { Buckets } from '@chancery/shared/door/buckets.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';

/** Of the disk, or so many bytes if that is less: below it, no reports. */
const FLOOR_PART = 0.1;
const FLOOR_BYTES = 1024 * 1024 * 1024;
const DAY = 86_400;
/** A batch waits so often for so long before it is refused. The gateway gives up after a minute. */
const WAITS = 30;
const WAIT_SECONDS = 1;

export interface ReportRoomOptions {
  /** Of the database. */
  readonly folder: string;
  /** Of one SPIFFE ID, on all its nodes. */
  readonly bytesPerDay: number;
  readonly clock: Clock;
}

/** Lets batches of records in. The shares of the day begin anew with the CA. */
export class ReportRoom {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #shares: Buckets;
  readonly #held = { disk: 0, share: 0 };

  constructor({ folder, bytesPerDay, clock }: ReportRoomOptions) {
    [this.#folder, this.#clock] = [folder, clock];
    this.#shares = new Buckets({ perSecond: bytesPerDay / DAY, burst: bytesPerDay }, clock);
  }

  /** How many batches had to wait, by what there was too little of. */
  get held(): Readonly<Record<'disk' | 'share', number>> {
    return this.#held;
  }

  /** Bytes that this process may still write to the disk. Rejects with what the file system says. */
  async free(): Promise<number> {
    return (await this.#disk()).free;
  }

  /** Waits for room, for 30 s. Throws unavailable where the disk is too full, and rate. Rejects at the signal. */
  async take(reporter: string, bytes: number, signal: AbortSignal): Promise<void> {
    for (let waits = 0; ; waits += 1) {
      const short = await this.#short(reporter, bytes);
      if (short === undefined) return;
      if (waits === 0) this.#held[isRefusal(short, 'rate') ? 'share' : 'disk'] += 1;
      if (waits === WAITS) throw short;
      await this.#clock.sleepUntil(addSeconds(this.#clock.now(), WAIT_SECONDS), signal);
    }
  }

  async #short(reporter: string, bytes: number): Promise<IdentityError | undefined> {
    const { free, floor } = await this.#disk();
    const says = `the disk of ${this.#folder} has ${free} bytes left; reports of calls wait below ${floor}`;
    if (free < floor) return new IdentityError('unavailable', says);
    try {
      this.#shares.spend(reporter, 'reports in this day', bytes);
    } catch (error) {
      if (isRefusal(error, 'rate')) return error;
      throw error;
    }
    return undefined;
  }

  async #disk(): Promise<{ readonly free: number; readonly floor: number }> {
    const { bavail, blocks, bsize } = await fs.promises.statfs(this.#folder);
    return { free: bavail * bsize, floor: Math.floor(Math.min(FLOOR_BYTES, blocks * bsize * FLOOR_PART)) };
  }
}
