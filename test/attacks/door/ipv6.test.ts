/** A stranger with an IPv6 /32, and so with 65,536 networks /48: row M56. */
import { Folder } from '@chancery/shared/audit/folder.ts';
import { Buckets } from '@chancery/shared/door/buckets.ts';
import { shareKeys } from '@chancery/shared/door/keys.ts';
import { Places } from '@chancery/shared/door/places.ts';
import { Weights } from '@chancery/shared/door/weights.ts';
import { expect, test, vi } from 'vitest';
import { after, NOW } from '../../kit/certificates.ts';
import { ManualClock } from '../../kit/manual-clock.ts';

const NETWORKS = 65_536;
/** An address in the stranger's network with this number. */
const keysOf = (n: number) => shareKeys(`2001:db8:${n.toString(16)}::1`);
const HONEST = shareKeys('2001:4860:4860::8888');
const MIB = 1024 * 1024;

test('M56 each of its networks counts apart, so only what all strangers have together bounds it', () => {
  const networks = new Set(Array.from({ length: NETWORKS }, (_, n) => keysOf(n).network));
  expect(networks.size).toBe(NETWORKS);
});

test.each([
  ['connections', { total: 1_024, perAddress: 64, perNetwork: 256, few: 8 }],
  ['exchanges', { total: 512, perAddress: 64, perNetwork: 256, few: 1 }],
])(
  'M56 of strangers’ %s the longest silent goes, so a newcomer has the time that it takes to fill all',
  (what, sizes) => {
    const places = new Places({ what, ...sizes, givesWay: 'anyone', replacesOwn: true });
    const { total } = sizes;
    for (let n = 0; n < NETWORKS; n += 1) places.take(keysOf(n));
    expect(places.open).toBe(total);
    const lose = vi.fn();
    places.take(HONEST, { lose });
    for (let n = 0; n < total - 1; n += 1) places.take(keysOf(n));
    expect(lose).not.toHaveBeenCalled();
    places.take(keysOf(0));
    expect(lose).toHaveBeenCalledOnce();
  },
);

test('M56 small messages of many networks do not push out one large message', () => {
  const settings = { total: 64 * MIB, perConnection: 4 * MIB, perAddress: 8 * MIB, perNetwork: 16 * MIB };
  const weights = new Weights({ ...settings, little: 2 * MIB });
  const add = (keys: typeof HONEST, bytes: number, lose = () => {}) =>
    weights.open(keys, {}, lose).add(bytes);
  for (let n = 0; n < 1_024; n += 1) add(keysOf(n), 64 * 1024);
  const lose = vi.fn();
  add(HONEST, MIB, lose);
  for (let n = 0; n < 1_000; n += 1) add(keysOf(n), 64 * 1024);
  expect(lose).not.toHaveBeenCalled();
  expect(weights.total).toBeLessThanOrEqual(64 * MIB);
});

test('M56 calls from more networks than are remembered lock nobody else out, and give no burst back', () => {
  const clock = new ManualClock(NOW);
  const buckets = new Buckets({ perSecond: 1, burst: 3 }, clock);
  const spend = (key: string) => buckets.spend(key, 'comes');
  for (let n = 0; n < 3; n += 1) spend('busy');
  for (let n = 0; n < NETWORKS; n += 1) spend(keysOf(n).network ?? '');
  spend(HONEST.network ?? '');
  expect(() => spend('busy')).toThrow(/faster than allowed/);
  clock.jump(after(1));
  spend('busy');
});

test('M56 refusals of more networks than are told apart are one record and a number', () => {
  const write = vi.fn();
  const folder = new Folder<{ id: string }>({ clock: new ManualClock(NOW), write, onLost: () => {} });
  for (let n = 0; n < NETWORKS; n += 1)
    folder.add({ source: keysOf(n).network ?? '', kind: 'no certificate' }, { id: String(n) });
  expect(write).toHaveBeenCalledTimes(1_001);
});
