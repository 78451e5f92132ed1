import { hex } from '@chancery/shared/ground/bytes.ts';
import { expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { pushedTo } from './pushed.ts';
import { Successions } from './successions.ts';

const KEY = new Uint8Array(32);
const serial = (number: number): string => number.toString(16).padStart(8, '0');
const of = (number: number, node = 'n1', until = after(60)) => ({
  old: serial(number),
  next: serial(number + 1),
  until,
  node: { platform: 'fake', node },
});
const nexts = (successions: Successions, since = 0): readonly string[] =>
  successions.since(since).list.map(({ next }) => next);

test('those after a number are given, once', () => {
  const successions = new Successions(new ManualClock(NOW), KEY, [of(1)]);
  const { last } = successions.since(0);
  successions.add(of(3));
  expect(nexts(successions)).toEqual([serial(2), serial(4)]);
  expect(nexts(successions, last)).toEqual([serial(4)]);
  expect(nexts(successions, successions.since(last).last)).toEqual([]);
});

test('one whose old certificate has ended is forgotten', () => {
  const clock = new ManualClock(NOW);
  const successions = new Successions(clock, KEY, [of(1), of(3, 'n1', after(120))]);
  clock.advanceTo(after(60));
  expect(nexts(successions)).toEqual([serial(4)]);
});

test('a node that renews over and over pushes out its own', () => {
  const successions = new Successions(new ManualClock(NOW), KEY, [of(1, 'quiet')]);
  for (let number = 2; number < 5000; number += 1) successions.add(of(number, 'loud'));
  expect(nexts(successions)).toHaveLength(4097);
  expect(nexts(successions)[0]).toBe(serial(2));
  expect(nexts(successions).at(-1)).toBe(serial(5000));
});

test('of many nodes the one with most gives way', () => {
  const successions = new Successions(new ManualClock(NOW), KEY);
  for (let number = 0; number < 200; number += 1) successions.add(of(number, 'loud'));
  for (let number = 1000; number < 1000 + 65_400; number += 1) successions.add(of(number, `node ${number}`));
  expect(nexts(successions)).toHaveLength(65_536);
  expect(nexts(successions).filter((next) => next <= serial(200))).toHaveLength(136);
});

test('a stream is sent all in messages of a bounded size, then what is new, while its agent is a gateway', () => {
  const successions = new Successions(new ManualClock(NOW), KEY);
  for (let number = 0; number < 5000; number += 1) successions.add(of(number, `node ${number}`));
  let gateway = false;
  const messages = pushedTo(() => gateway, successions);
  expect(messages()).toEqual([]);
  gateway = true;
  const first = messages();
  expect(first.map(({ sequence, successions: { length } }) => [sequence, length])).toEqual([
    [0n, 4096],
    [0n, 904],
  ]);
  successions.add(of(6000));
  expect(messages().map((each) => each.successions)).toEqual([
    [
      {
        old: Buffer.from(serial(6000), 'hex'),
        next: Buffer.from(serial(6001), 'hex'),
        until: BigInt(after(60).getTime() / 1000),
        share: expect.any(Buffer),
      },
    ],
  ]);
});

test('what comes within 50 ms is told together, a lone one at once', async () => {
  const clock = new ManualClock(NOW);
  const successions = new Successions(clock, KEY, [of(1)]);
  const told: number[] = [];
  successions.changes.onChange((number) => told.push(number));
  for (let number = 2; number < 102; number += 1) successions.add(of(number, `node ${number}`));
  expect(told).toEqual([2]);
  clock.advanceTo(new Date(NOW.getTime() + 49));
  await Promise.resolve();
  expect(told).toEqual([2]);
  clock.advanceTo(new Date(NOW.getTime() + 50));
  await Promise.resolve();
  expect(told).toEqual([2, 101]);
});

test('those of one node have one share, without its name', () => {
  const list = [of(1), of(2), of(3, 'n2')];
  const sharesUnder = (key: Uint8Array) =>
    new Successions(new ManualClock(NOW), key, list).since(0).list.map(({ share }) => hex(share));
  const [one, same, other] = sharesUnder(KEY);
  expect(one).toMatch(/^[0-9a-f]{16}$/);
  expect(same).toBe(one);
  expect(other).not.toBe(one);
  expect(sharesUnder(new Uint8Array(32).fill(1))).not.toContain(one);
});
