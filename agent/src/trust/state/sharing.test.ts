import { expect, test } from 'vitest';
import { Sharing } from './sharing.ts';

function sharing() {
  let nowMs = 0;
  const table = new Sharing(() => nowMs);
  const hear = (...said: readonly number[]): number => {
    for (const each of said) table.hear(each);
    return table.gateways;
  };
  const after = (seconds: number): number => {
    nowMs += seconds * 1000;
    return table.gateways;
  };
  return { table, hear, after };
}

test('one, until the CA says more; a larger number counts at once', () => {
  const { table, hear } = sharing();
  expect([table.gateways, hear(2), hear(3), hear(3)]).toEqual([1, 2, 3, 3]);
});

test('a number below 1 is not taken', () => {
  expect(sharing().hear(3, 0, -1)).toBe(3);
});

test('a smaller number counts after a minute', () => {
  const { hear, after } = sharing();
  expect([hear(3, 1), after(59), after(2), after(600)]).toEqual([3, 3, 1, 1]);
});

test('a CA that counts its gateways anew gives nobody more', () => {
  const { hear, after } = sharing();
  expect([hear(3, 1), after(20), hear(2), after(20), hear(3), after(600)]).toEqual([3, 3, 3, 3, 3, 3]);
});

test('of several smaller numbers the largest counts after a minute, and the last a minute later', () => {
  const { hear, after } = sharing();
  expect([hear(5, 3), after(50), hear(4, 2), after(11), after(59), after(2)]).toEqual([5, 5, 5, 4, 4, 2]);
});

test('what was in force before a restart stands until the CA has said another number for a minute', () => {
  const { table, hear, after } = sharing();
  table.resume(3);
  expect([table.gateways, after(3600), hear(1), after(59), after(2)]).toEqual([3, 3, 3, 3, 1]);
});
