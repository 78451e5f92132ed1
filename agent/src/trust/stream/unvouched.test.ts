import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { beforeEach, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { Unvouched } from './unvouched.ts';

let clock: ManualClock;
let wanted: boolean;
const ask = vi.fn<() => Promise<readonly Uint8Array[]>>();
const take = vi.fn<(proofs: readonly Uint8Array[]) => boolean>();
const onProven = vi.fn();
beforeEach(() => {
  clock = new ManualClock(NOW);
  wanted = true;
  for (const each of [ask, take, onProven]) each.mockReset();
  ask.mockResolvedValue([]);
  take.mockReturnValue(false);
});
const start = () =>
  new Unvouched({ isWanted: () => wanted, ask, take, onProven, clock, random: () => 0.5, log: silentLog });

test('asks until something is proven, after a failure too, and then no more', async () => {
  const unvouched = start();
  ask.mockRejectedValueOnce(new IdentityError('unavailable', 'away'));
  unvouched.look();
  unvouched.look();
  await vi.waitFor(() => expect(clock.sleeping).toBe(1));
  expect(ask).toHaveBeenCalledTimes(1);
  clock.advanceTo(after(2));
  await vi.waitFor(() => expect(take).toHaveBeenCalledTimes(1));
  take.mockReturnValue(true);
  onProven.mockImplementation(() => {
    wanted = false;
  });
  await vi.waitFor(() => expect(clock.sleeping).toBe(1));
  clock.advanceTo(after(10));
  await vi.waitFor(() => expect(onProven).toHaveBeenCalledTimes(1));
  expect(ask).toHaveBeenCalledTimes(3);
  wanted = true;
  await vi.waitFor(() => {
    unvouched.look();
    expect(ask).toHaveBeenCalledTimes(4);
  });
});

test('asks nothing where nothing is wanted, and nothing after its end', async () => {
  wanted = false;
  const unvouched = start();
  unvouched.look();
  expect(ask).not.toHaveBeenCalled();
  wanted = true;
  unvouched.look();
  await vi.waitFor(() => expect(clock.sleeping).toBe(1));
  unvouched.close();
  clock.advanceTo(after(100));
  expect(ask).toHaveBeenCalledTimes(1);
});
