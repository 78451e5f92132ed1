import { expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { IdentityError } from './errors.ts';
import { LiveValue } from './source.ts';

const make = (first?: string) =>
  new LiveValue<string>(() => new IdentityError('unavailable', 'none yet'), first);

test('refuses until there is a value', () => {
  const live = make();
  expect(() => live.current()).toThrow(refusal('unavailable', /^none yet$/));
  live.publish('a');
  expect(live.current()).toBe('a');
  expect(make('first').current()).toBe('first');
});

test('tells each listener of each change, not of the value that it has, until it stops', () => {
  const live = make('first');
  const told: string[] = [];
  const stop = live.onChange((value) => told.push(`one ${value}`));
  live.onChange((value) => told.push(`two ${value}`));
  live.publish('a');
  stop();
  stop();
  live.publish('b');
  expect(told).toEqual(['one a', 'two a', 'two b']);
});

test('has the new value when it tells of it', () => {
  const live = make();
  live.onChange((value) => expect(live.current()).toBe(value));
  live.publish('a');
  expect.assertions(1);
});

test('a listener may stop itself or bring another while it is told', () => {
  const live = make();
  const told: string[] = [];
  const stop = live.onChange((value) => {
    told.push(value);
    stop();
    live.onChange((later) => told.push(`late ${later}`));
  });
  live.publish('a');
  live.publish('b');
  expect(told).toEqual(['a', 'late b']);
});
