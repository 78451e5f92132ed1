/** What an agent that refuses its CA finds out there: other roots, or that the CA does not know of a taint. */
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { Revocation } from '@chancery/shared/revocation/revocation.ts';
import { revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { keyNameOf } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, expect, test, vi } from 'vitest';
import { makeAuthority, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { newLogKey } from '../../../../test/kit/voucher.ts';
import { tlsTarget } from '../../svid/channel.ts';
import { fetchBundle } from '../bootstrap.ts';
import { followVouchers, Vouching } from '../vouching.ts';
import { handBack } from './hand-back.ts';
import { Recovery } from './recover.ts';

vi.mock(import('../bootstrap.ts'), async (original) => ({ ...(await original()), fetchBundle: vi.fn() }));
vi.mock(import('../vouching.ts'), async (original) => ({ ...(await original()), followVouchers: vi.fn() }));
vi.mock(import('./hand-back.ts'), async (original) => ({ ...(await original()), handBack: vi.fn() }));
vi.mock(import('../../svid/channel.ts'), async (original) => {
  const actual = await original();
  return { ...actual, tlsTarget: vi.fn((address: string) => actual.unverifiedTarget(address)) };
});
const [offers, vouchers, hands] = [vi.mocked(fetchBundle), vi.mocked(followVouchers), vi.mocked(handBack)];
const target = vi.mocked(tlsTarget);
const away = new IdentityError('unavailable', 'away');

const [known, stolen, strange] = ['Known', 'Stolen', 'Strange'].map(
  (name) => makeAuthority(name).certificate,
);
const der = (each: typeof known): Uint8Array => each?.der ?? new Uint8Array();
/** The key of the one above is revoked, as a taint does. */
const taint: Revocation = {
  number: 1,
  target: { kind: 'authority', value: stolen ? keyNameOf(stolen) : '' },
  serials: [],
  reason: 'keyCompromise',
  until: undefined,
};
const other: Revocation = { ...taint, target: { kind: 'id', value: 'spiffe://prod.example/w' } };

let recovery: Recovery;
let inForce: readonly Revocation[];
beforeEach(() => {
  vi.clearAllMocks();
  offers.mockResolvedValue([der(known)]);
  vouchers.mockResolvedValue(0);
  hands.mockResolvedValue(false);
  inForce = [];
  const vouching = new Vouching(() => false);
  vouching.keep(newLogKey('prod.example').text);
  const bundle = { trustDomain: 'prod.example', authorities: [der(known)], sequence: 0n };
  const revocations = { current: () => revocationSet(inForce, 1n) };
  const state = { bundle: { current: () => bundle }, revocations, vouching, toHandBack: () => [] } as never;
  const clock = new ManualClock(NOW);
  recovery = new Recovery({ address: '127.0.0.1:1', state, svid: () => undefined, clock, log: silentLog });
});

test('a CA whose roots are all known is asked for no vouchers, and nothing is said of it', async () => {
  expect(await recovery.recovers(away)).toBe(false);
  expect(vouchers).not.toHaveBeenCalled();
  expect(recovery.explained(away)).toBe(away);
});

test('roots that nothing leads to are said, of a CA that cannot be reached and of no other error', async () => {
  offers.mockResolvedValue([der(known), der(strange)]);
  expect(await recovery.recovers(away)).toBe(false);
  const says =
    'away; the CA there says that it has 2 authorities, and this agent trusts 1 of them; no voucher leads to the others';
  expect(recovery.explained(away)).toMatchObject({ code: 'unavailable', message: says });
  const refused = new IdentityError('refused_by_ca', 'no');
  expect(recovery.explained(refused)).toBe(refused);
});

test('a voucher that leads to them is worth another try', async () => {
  offers.mockResolvedValue([der(known), der(strange)]);
  vouchers.mockResolvedValue(1);
  const call = vi.fn().mockRejectedValueOnce(away).mockResolvedValueOnce('answer');
  expect(await recovery.around(call)).toBe('answer');
  expect(call).toHaveBeenCalledTimes(2);
});

test.each<[string, readonly Revocation[]]>([
  ['no revocation', []],
  ['no revocation of an authority', [other]],
])('an agent with %s hands nothing back', async (_, list) => {
  inForce = list;
  offers.mockResolvedValue([der(known), der(stolen)]);
  expect(await recovery.recovers(away)).toBe(false);
  expect(hands).not.toHaveBeenCalled();
});

test('I222 a CA above which a root was tainted is told, as if that root were trusted, and no other one', async () => {
  inForce = [other, taint];
  offers.mockResolvedValue([der(known), der(stolen), der(strange)]);
  hands.mockResolvedValue(true);
  expect(await recovery.recovers(away)).toBe(true);
  expect(target.mock.calls[0]?.[1].authorities).toEqual([der(known), der(stolen)]);
  expect(vouchers).not.toHaveBeenCalled();
});

test.each<[string, () => void]>([
  ['wants nothing', () => void hands.mockResolvedValue(false)],
  ['does not answer', () => void hands.mockRejectedValue(away)],
])('where it %s, the roots that nobody has tainted are still looked for', async (_, answer) => {
  inForce = [taint];
  offers.mockResolvedValue([der(known), der(stolen), der(strange)]);
  answer();
  vouchers.mockResolvedValue(1);
  expect(await recovery.recovers(away)).toBe(true);
  expect(hands).toHaveBeenCalledOnce();
});
