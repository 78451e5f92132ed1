import fs, { type StatsFs } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { ReportRoom } from './report-room.ts';

const GIB = 1024 ** 3;
const DAY = 86_400;
const WEB = 'spiffe://prod.example/web';
const OTHER = 'spiffe://prod.example/other';
const never = new AbortController().signal;

let now: Date;
let slept: number;
let room: ReportRoom;
beforeEach(() => {
  [now, slept] = [NOW, 0];
  const sleepUntil = async (time: Date) => {
    [now, slept] = [time, slept + 1];
  };
  room = new ReportRoom({ folder: '/data', bytesPerDay: DAY * 1000, clock: { now: () => now, sleepUntil } });
  disk(50 * GIB);
});
afterEach(() => vi.restoreAllMocks());

function disk(free: number, all = 100 * GIB): void {
  const about = { bavail: free / 4096, blocks: all / 4096, bsize: 4096 };
  vi.spyOn(fs.promises, 'statfs').mockImplementation(async () => about as StatsFs);
}
const full = refusal('unavailable', /the disk of \/data has \d+ bytes left; reports of calls wait below \d+/);
const fast = refusal('rate', /web reports in this day faster than allowed/);

describe('M102 the floor of a disk', () => {
  test.each([
    ['1 GiB', GIB, 100 * GIB],
    ['a tenth of a small one', 100 * 4096, 1000 * 4096],
  ])('is %s', async (_name, floor, all) => {
    disk(floor, all);
    await room.take(WEB, 1, never);
    expect(room.held).toEqual({ disk: 0, share: 0 });
    disk(floor - 4096, all);
    await expect(room.take(WEB, 1, never)).rejects.toEqual(full);
    expect([slept, room.held]).toEqual([30, { disk: 1, share: 0 }]);
  });
});

test('M102 a SPIFFE ID has its share of the day, which comes back, and costs no other its own', async () => {
  for (let hour = 0; hour < 24; hour += 1) await room.take(WEB, 3_600_000, never);
  await expect(room.take(WEB, 3_600_000, never)).rejects.toEqual(fast);
  expect([slept, room.held]).toEqual([30, { disk: 0, share: 1 }]);
  await room.take(OTHER, 3_600_000, never);
  now = after(3601);
  await room.take(WEB, 3_600_000, never);
  expect(room.held).toEqual({ disk: 0, share: 1 });
});

test('what waits ends with its stream', async () => {
  disk(0);
  const sleepUntil = async (_time: Date, signal?: AbortSignal) => signal?.throwIfAborted();
  room = new ReportRoom({ folder: '/data', bytesPerDay: DAY, clock: { now: () => now, sleepUntil } });
  await expect(room.take(WEB, 1, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
});

test('free bytes are those of the disk', async () => {
  vi.restoreAllMocks();
  room = new ReportRoom({
    folder: '.',
    bytesPerDay: DAY,
    clock: { now: () => now, sleepUntil: async () => {} },
  });
  expect(await room.free()).toBeGreaterThan(0);
});
