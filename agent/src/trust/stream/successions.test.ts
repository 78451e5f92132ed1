import { expect, test } from 'vitest';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { Successions } from './successions.ts';

const of = (old: string, next: string, until = after(60), share = next) => ({
  old: Buffer.from(old, 'hex'),
  next: Buffer.from(next, 'hex'),
  until: BigInt(until.getTime() / 1000),
  share: Buffer.from(share, 'hex'),
});

test('a certificate follows the one before it, and those before that', () => {
  const successions = new Successions(new ManualClock(NOW));
  successions.add([of('40aa', '40bb'), of('40bb', '40cc')]);
  const follows = (next: string, old: string) => successions.follows(next, old);
  expect([follows('40bb', '40aa'), follows('40cc', '40bb'), follows('40cc', '40aa')]).toEqual([
    true,
    true,
    true,
  ]);
  expect([follows('40aa', '40bb'), follows('40aa', '40aa'), follows('40dd', '40aa')]).toEqual([
    false,
    false,
    false,
  ]);
});

test('none follows one that has ended', () => {
  const clock = new ManualClock(NOW);
  const successions = new Successions(clock);
  successions.add([of('40aa', '40bb'), of('40bb', '40cc', after(120))]);
  clock.advanceTo(after(60));
  expect(successions.follows('40bb', '40aa')).toBe(false);
  expect(successions.follows('40cc', '40bb')).toBe(true);
});

test('a circle and a long line end', () => {
  const successions = new Successions(new ManualClock(NOW));
  successions.add([of('40aa', '40bb'), of('40bb', '40aa')]);
  expect(successions.follows('40aa', '40cc')).toBe(false);
});

test('those that have ended, and the oldest of too many, are forgotten', () => {
  const clock = new ManualClock(NOW);
  const successions = new Successions(clock);
  const many = (first: number, until: Date) =>
    Array.from({ length: 70_000 }, (_, index) => {
      const [old, next] = [first + index, first + index + 1].map((n) => n.toString(16).padStart(8, '0'));
      return of(old ?? '', next ?? '', until);
    });
  successions.add(many(0, after(60)));
  expect(successions.size).toBe(65_536);
  clock.advanceTo(after(61));
  successions.add(many(0x01000000, after(120)).slice(0, 65_600));
  expect(successions.size).toBe(65_536);
  expect(successions.follows('01000001', '01000000')).toBe(false);
  expect(successions.follows('01010001', '01010000')).toBe(true);
});

const serial = (n: number): string => n.toString(16).padStart(8, '0');

test('listeners are called after each addition', () => {
  const successions = new Successions(new ManualClock(NOW));
  let heard = 0;
  const stop = successions.onChange(() => {
    heard += successions.follows('40bb', '40aa') ? 1 : 0;
  });
  successions.add([of('40aa', '40bb')]);
  expect(heard).toBe(1);
  stop();
  successions.add([of('40bb', '40cc')]);
  expect(heard).toBe(1);
});

test('I66 a node that renews over and over pushes out its own successions, not those of others', () => {
  const successions = new Successions(new ManualClock(NOW));
  successions.add([of('40aa', '40bb')]);
  for (let n = 0; n < 70_000; n += 1) successions.add([of(serial(n), serial(n + 1), after(60), 'ff')]);
  expect(successions.size).toBe(4_097);
  expect(successions.follows('40bb', '40aa')).toBe(true);
  expect(successions.follows(serial(70_000), serial(69_999))).toBe(true);
});

test('no link is forgotten if 1,000 certificates derived from one are replaced at the same moment', () => {
  const successions = new Successions(new ManualClock(NOW));
  for (let n = 0; n < 1_000; n += 1) successions.add([of(serial(n), serial(n + 0x0100), after(60), 'ff')]);
  expect(successions.size).toBe(1_000);
});

test('I66 of too many, those of the nodes with most are forgotten first', () => {
  const successions = new Successions(new ManualClock(NOW));
  successions.add([of('40aa', '40bb')]);
  const loud = Array.from({ length: 70_000 }, (_, n) =>
    of(serial(n), serial(n + 0x01000000), after(60), serial(n % 500)),
  );
  successions.add(loud);
  expect(successions.size).toBe(65_536);
  expect(successions.follows('40bb', '40aa')).toBe(true);
});
