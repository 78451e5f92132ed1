import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { Serving } from './serving.ts';

const id = parseSpiffeId('spiffe://prod.example/gateway');
let clock: ManualClock;
let serving: Serving;
let told: number[];
beforeEach(() => {
  clock = new ManualClock(NOW);
  serving = new Serving(clock);
  told = [];
  serving.onChange(id, () => told.push(serving.count(id)));
});

/** An agent of this process, on a machine of this name. */
const open = (instance: string, node = instance, seconds = 60, of = id) =>
  serving.open({ id: of, platform: 'tpm', node, certificateNotAfter: after(seconds) }, instance);

test('each process counts once, however many streams it has, and only for its SPIFFE ID', () => {
  expect(serving.count(id)).toBe(1);
  open('a');
  open('a');
  open('b');
  open('c', 'c', 60, parseSpiffeId('spiffe://prod.example/another'));
  expect([serving.count(id), told]).toEqual([2, [2]]);
});

test('a gateway that is away counts until its last certificate has ended', () => {
  const [first, second] = [open('a'), open('a', 'a', 90)];
  open('b');
  first(true);
  second(true);
  clock.advanceTo(after(89));
  expect(serving.count(id)).toBe(2);
  clock.advanceTo(after(90));
  expect(serving.count(id)).toBe(1);
  expect(told).toEqual([2]);
});

test('one that is no gateway counts while it is connected', () => {
  open('b');
  open('a')(false);
  expect([serving.count(id), told]).toEqual([1, [2, 1]]);
});

test('a restart takes the place of the process before it on its machine, and of no other', () => {
  open('b');
  open('a', 'machine')(true);
  open('c', 'machine');
  expect([serving.count(id), told]).toEqual([2, [2]]);
  open('d', 'another machine');
  expect(serving.count(id)).toBe(3);
});

test('a second process on a machine counts beside one that is connected', () => {
  open('a', 'machine');
  open('b', 'machine');
  expect(serving.count(id)).toBe(2);
});

test('nobody is told any more who does not want to be', () => {
  const more: number[] = [];
  const stop = serving.onChange(id, () => more.push(serving.count(id)));
  open('a');
  open('b');
  stop();
  open('c');
  expect([more, told]).toEqual([[2], [2, 3]]);
});
