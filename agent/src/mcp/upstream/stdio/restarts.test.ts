import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import { Restarts } from './restarts.ts';

const [A, B] = [parseSpiffeId('spiffe://prod.example/a'), parseSpiffeId('spiffe://prod.example/b')];

/** The milliseconds from each failure to the next start. */
function pauses(count: number): number[] {
  let nowMs = 0;
  const restarts = new Restarts(() => nowMs);
  return Array.from({ length: count }, () => {
    restarts.ended(A, 'failed');
    const failedMs = nowMs;
    for (; ; nowMs += 100)
      try {
        restarts.ensureMayStart(A);
        return nowMs - failedMs;
      } catch {
        restarts.ensureMayStart(B);
      }
  });
}

test('a process that ends without an answer is started again at once, then after 1 s, doubling to 30 s', () => {
  expect(pauses(9)).toEqual([0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
});

test('an answer ends that, and the refusal says how long it lasts', () => {
  const restarts = new Restarts(() => 0);
  restarts.ended(A, 'failed');
  restarts.ended(A, 'failed');
  expect(() => restarts.ensureMayStart(A)).toThrow(
    'the process of the MCP server ended 2 times without an answer; it is started again in 1 s',
  );
  restarts.ended(A, 'answered');
  restarts.ensureMayStart(A);
});

test('a process that was stopped before it answered changes nothing', () => {
  const restarts = new Restarts(() => 0);
  for (const how of ['failed', 'stopped', 'failed', 'stopped'] as const) restarts.ended(A, how);
  expect(() => restarts.ensureMayStart(A)).toThrow('ended 2 times');
});
