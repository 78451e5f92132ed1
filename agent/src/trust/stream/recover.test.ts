import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { beforeEach, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { newLogKey } from '../../../../test/kit/voucher.ts';
import { fetchBundle } from '../bootstrap.ts';
import { NO_REVOCATIONS } from '../state/revocations.ts';
import { Vouching } from '../vouching.ts';
import { Recovery } from './recover.ts';

vi.mock(import('../bootstrap.ts'), async (original) => ({ ...(await original()), fetchBundle: vi.fn() }));
const looks = vi.mocked(fetchBundle);
const away = new IdentityError('unavailable', 'away');
const known = Buffer.from('a root');

const svid = () => undefined;

let clock: ManualClock;
let vouching: Vouching;
let recovery: Recovery;
beforeEach(() => {
  looks.mockReset().mockResolvedValue([known]);
  clock = new ManualClock(NOW);
  vouching = new Vouching(() => false);
  vouching.keep(newLogKey('prod.example').text);
  const bundle = { trustDomain: 'prod.example', authorities: [known], sequence: 0n };
  const around = { bundle: { current: () => bundle }, revocations: { current: () => NO_REVOCATIONS } };
  const state = { ...around, vouching, toHandBack: () => [] } as never;
  recovery = new Recovery({ address: '127.0.0.1:1', state, svid, clock, log: silentLog });
});

test('the CA is looked at once in 30 seconds, also where that failed', async () => {
  looks.mockRejectedValueOnce(away);
  for (const seconds of [0, 10, 29]) {
    clock.advanceTo(after(seconds));
    expect(await recovery.recovers(away)).toBe(false);
  }
  expect(looks).toHaveBeenCalledTimes(1);
  clock.advanceTo(after(31));
  expect(await recovery.recovers(away)).toBe(false);
  expect(looks).toHaveBeenCalledTimes(2);
});

test('the CA is looked at only where it could not be reached, and by an agent that has the key of its log', async () => {
  expect(await recovery.recovers(new IdentityError('revoked_peer', 'no'))).toBe(false);
  const state = { vouching: new Vouching(() => false) } as never;
  const without = new Recovery({ address: '127.0.0.1:1', state, svid, clock, log: silentLog });
  expect(await without.recovers(away)).toBe(false);
  expect(looks).not.toHaveBeenCalled();
});

test('a call that failed is made once where nothing leads to a root of the CA', async () => {
  const call = vi.fn(async () => {
    throw away;
  });
  await expect(recovery.around(call)).rejects.toThrow(away);
  expect(call).toHaveBeenCalledTimes(1);
});
