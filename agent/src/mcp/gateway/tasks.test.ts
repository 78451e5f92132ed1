import { expect, test } from 'vitest';
import { NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { id, STRANGER, TRIAGE } from '../../../../test/kit/mcp/world/world.ts';
import { Tasks } from './tasks.ts';

const fresh = () => {
  const clock = new ManualClock(NOW);
  const pass = (ms: number): void => clock.advanceTo(new Date(clock.now().getTime() + ms));
  return { pass, tasks: new Tasks(clock) };
};

test('a task is known to its caller until its server forgets it, at most for a day', () => {
  const { pass, tasks } = fresh();
  tasks.add(TRIAGE, 'echo', { id: 'a', ttl: 60_000 });
  tasks.add(TRIAGE, 'sum', { id: 'b', ttl: undefined });
  const known = () => ['a', 'b'].map((each) => tasks.of(TRIAGE).toolOf(each));
  expect(known()).toEqual(['echo', 'sum']);
  expect(tasks.of(STRANGER).toolOf('a')).toBeUndefined();
  pass(60_000);
  expect(known()).toEqual([undefined, 'sum']);
  pass(86_400_000);
  expect(known()).toEqual([undefined, undefined]);
});

test('a caller has a bound, and the oldest gives way where calls at the same time pass it', () => {
  const { pass, tasks } = fresh();
  for (let at = 0; at < 256; at += 1) {
    expect(tasks.of(TRIAGE).isFull).toBe(false);
    tasks.add(TRIAGE, 'echo', { id: `${at}`, ttl: 1_000 });
  }
  expect([tasks.of(TRIAGE).isFull, tasks.of(STRANGER).isFull]).toEqual([true, false]);
  tasks.add(TRIAGE, 'echo', { id: 'more', ttl: 1_000 });
  expect(['0', '1', 'more'].map((each) => tasks.of(TRIAGE).toolOf(each))).toEqual([
    undefined,
    'echo',
    'echo',
  ]);
  pass(1_000);
  expect(tasks.of(TRIAGE).isFull).toBe(false);
});

test('callers whose tasks have all ended are forgotten', () => {
  const { pass, tasks } = fresh();
  const callers = Array.from({ length: 1_100 }, (_, at) => id(`agents/${at}`));
  for (const caller of callers) tasks.add(caller, 'echo', { id: 'a', ttl: 1_000 });
  expect(callers.every((caller) => tasks.of(caller).toolOf('a') === 'echo')).toBe(true);
  pass(1_000);
  tasks.add(TRIAGE, 'echo', { id: 'a', ttl: 1_000 });
  expect(callers.some((caller) => tasks.of(caller).toolOf('a') !== undefined)).toBe(false);
});
