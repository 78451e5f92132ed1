import { expect, test } from 'vitest';
import { backoffSeconds } from './backoff.ts';

const backoff = { firstSeconds: 0.5, lastSeconds: 30, spread: 0.2 };

test.each([
  [1, 0.5],
  [2, 1],
  [6, 16],
  [7, 30],
  [5_000, 30],
])('after %i failures the pause is %d s, and chance changes it by a fifth at most', (failures, seconds) => {
  expect(backoffSeconds(backoff, failures, 0.5)).toBeCloseTo(seconds);
  expect(backoffSeconds(backoff, failures, 0)).toBeCloseTo(seconds * 0.8);
  expect(backoffSeconds(backoff, failures, 1)).toBeCloseTo(seconds * 1.2);
});
