import { beforeEach, expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import type { ShareKeys } from './keys.ts';
import { SlowAddresses } from './slow-addresses.ts';

let clock: ManualClock;
let slow: SlowAddresses;
let entered: string[];
beforeEach(() => {
  clock = new ManualClock(NOW);
  slow = new SlowAddresses(clock);
  entered = [];
});
const enter = (keys: ShareKeys, name = keys.address): (() => void) =>
  slow.enter(keys, () => void entered.push(name));
const at = async (seconds: number): Promise<void> => {
  clock.advanceTo(after(seconds));
  await new Promise((resolve) => setImmediate(resolve));
};

test('who comes from an address after a peer of it was sent away waits a second, others do not', async () => {
  slow.add({ address: 'a' });
  enter({ address: 'a' });
  enter({ address: 'b' });
  expect(entered).toEqual(['b']);
  await at(0.9);
  expect(entered).toEqual(['b']);
  await at(1);
  expect(entered).toEqual(['b', 'a']);
});

test('those who were sent away together come back one after another, within two seconds', async () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'];
  for (const name of names) slow.add({ address: name });
  for (const name of names) enter({ address: name });
  await at(1);
  expect(entered).toEqual(['a', 'i']);
  await at(1.125);
  expect(entered).toEqual(['a', 'i', 'b']);
  await at(1.5);
  expect(entered).toEqual(['a', 'i', 'b', 'c', 'd', 'e']);
  await at(1.875);
  expect(entered).toHaveLength(names.length);
});

test('all of one /48 wait', async () => {
  slow.add({ address: '1::/64', network: '/48' });
  enter({ address: '2::/64', network: '/48' });
  expect(entered).toEqual([]);
  await at(1);
  expect(entered).toEqual(['2::/64']);
});

test('ten seconds later nobody waits, and none when the clock was set back', () => {
  slow.add({ address: 'a' });
  clock.jump(after(10));
  enter({ address: 'a' });
  slow.add({ address: 'a' });
  clock.jump(after(-100));
  enter({ address: 'a' });
  expect(entered).toEqual(['a', 'a']);
});

test('who leaves while it waits does not enter', async () => {
  slow.add({ address: 'a' });
  enter({ address: 'a' })();
  await at(2);
  expect(entered).toEqual([]);
});

test('ten thousand addresses are remembered, the newest', () => {
  for (let n = 0; n <= 10_000; n += 1) slow.add({ address: `${n}` });
  enter({ address: '0' });
  enter({ address: '1' });
  expect(entered).toEqual(['0']);
});

test('an address whose peer is sent away again is remembered as the newest', () => {
  for (let n = 0; n < 10_000; n += 1) slow.add({ address: `${n}` });
  slow.add({ address: '0' });
  slow.add({ address: 'one more' });
  expect(['0', '1', '2'].map((address) => slow.has({ address }))).toEqual([true, false, true]);
});
