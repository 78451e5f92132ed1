import { beforeEach, describe, expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { Limits, type Share } from './limits.ts';

const settings = {
  attestationsPerSecond: 1,
  attestationBurst: 2,
  openAttestations: 20_000,
  openAttestationsPerAddress: 2,
};
let clock: ManualClock;
let limits: Limits;
beforeEach(() => {
  clock = new ManualClock(NOW);
  limits = new Limits(settings, clock);
});
const enter = (address: string): (() => void) => limits.enter('stranger', { address }).leave;
const fast = refusal('rate', /^a starts exchanges faster than allowed$/);

test('a place is free once, however often it is left', () => {
  const leave = enter('a');
  enter('b');
  leave();
  leave();
  expect(limits.open).toBe(1);
});

test('a refused call is not counted', () => {
  enter('a');
  enter('a');
  expect(() => enter('a')).toThrow(refusal('rate', /^a has 2 exchanges open$/));
  expect(limits.open).toBe(2);
});

test('time earns no more than the burst, and none when it goes backwards', () => {
  const start = () => enter('a')();
  start();
  start();
  expect(start).toThrow(fast);
  clock.jump(after(-60));
  expect(start).toThrow(fast);
  clock.jump(after(1000));
  start();
  start();
  expect(start).toThrow(fast);
});

test('a call costs its certificates; above the burst a full bucket owes the rest', () => {
  const call = (certificates: number) => limits.call('IssueX509', 'n1', certificates);
  call(5);
  expect(() => call(1)).toThrow(refusal('rate', /^IssueX509 of n1 comes faster than allowed$/));
  clock.jump(after(3));
  expect(() => call(1)).toThrow(refusal('rate', /faster/));
  clock.jump(after(4));
  call(1);
});

test('another address does not give the first one its burst back', () => {
  enter('a')();
  enter('a')();
  enter('b')();
  expect(() => enter('a')).toThrow(fast);
});

test('of more than ten thousand addresses those that asked for least are forgotten first', () => {
  for (let n = 0; n < 2; n += 1) enter('busy')();
  for (let n = 0; n < 20_000; n += 1) enter(`address-${n}`)();
  expect(() => enter('busy')).toThrow(refusal('rate', /^busy starts exchanges faster than allowed$/));
  expect(limits.open).toBe(0);
});

test('one /48 has four shares, however many /64 it uses', () => {
  const wide = (n: number) => limits.enter('stranger', { address: `2001:db8:1:${n}::/64`, network: '/48' });
  for (let n = 0; n < 8; n += 1) wide(n);
  expect(() => wide(8)).toThrow(refusal('rate', /^\/48 has 8 exchanges open$/));
});

describe('places', () => {
  const few = { ...settings, attestationBurst: 100, openAttestations: 4, openAttestationsPerAddress: 3 };
  beforeEach(() => {
    limits = new Limits(few, clock);
  });
  const place = (address: string, share: Share = 'stranger') => limits.enter(share, { address });
  const never = new Promise<never>(() => {});

  test('of strangers do not count against certified callers or the local socket', () => {
    for (const address of ['a', 'b', 'c', 'd']) place(address);
    place('node', 'certified');
    place('uid 1', 'local');
    expect(limits.open).toBe(6);
  });

  test('go to the next caller from the longest silent one of the caller that holds most', async () => {
    const lone = place('b').listen(never);
    const [older, newer] = [place('a'), place('a')].map((each) => each.listen(never));
    place('c');
    place('d');
    await expect(older).rejects.toThrow(refusal('rate', /^a was silent while all places were taken$/));
    const state = await Promise.race([newer, lone, 'still open']);
    expect({ state, open: limits.open }).toEqual({ state: 'still open', open: 4 });
  });

  test('are kept while their callers are answered', async () => {
    const places = ['a', 'b', 'c', 'd'].map((address) => place(address));
    for (const each of places) await each.listen(Promise.resolve());
    expect(() => place('e')).toThrow(refusal('rate', /^4 exchanges are open$/));
  });

  test('must be used sooner when few are left', () => {
    const seconds = [limits.patience('stranger', 10)];
    for (const address of ['a', 'b', 'c', 'd']) {
      place(address);
      seconds.push(limits.patience('stranger', 10));
    }
    expect(seconds).toEqual([10, 10, 3, 3, 1]);
    expect(limits.patience('certified', 10)).toBe(10);
  });
});
