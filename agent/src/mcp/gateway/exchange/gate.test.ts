import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import { heldBy } from './gate.ts';
import type { Unread, UnreadLimits } from './unread.ts';

const caller = parseSpiffeId('spiffe://prod.example/a');
const limits: UnreadLimits = { perStream: 10, perCaller: 100, total: 100 };

/** Why an answer that holds so much is lost. */
function lost(of: Unread, bytes: number): readonly string[] {
  const reasons: string[] = [];
  of.count(
    caller,
    () => bytes,
    (reason) => reasons.push(reason),
  )();
  return reasons;
}

test('what clients do not read and what is not whole have limits of their own, and are named apart', () => {
  const { unread, arriving } = heldBy({ unread: limits, arriving: { ...limits, perStream: 20 } }, 1_000);
  expect(lost(unread, 11)).toEqual(['the client has 11 bytes to read']);
  expect(lost(arriving, 20)).toEqual([]);
  expect(lost(arriving, 21)).toEqual(['the client has 21 bytes in answers that are not whole']);
});

test.each(['unread', 'arriving'] as const)('by default %s has 32 MiB for a stream', (which) => {
  const { [which]: of } = heldBy({}, 1_000);
  const most = 32 * 1024 * 1024;
  expect([lost(of, most).length, lost(of, most + 1).length]).toEqual([0, 1]);
});

test.each(['unread', 'arriving'] as const)('of four servers each has a quarter of %s', (which) => {
  const quarter = 128 * 1024 * 1024;
  const { [which]: of } = heldBy({}, 1_000, 4);
  const reasons: string[] = [];
  const part = quarter / 4;
  for (let n = 0; n < 4; n += 1)
    of.count(
      caller,
      () => part,
      (reason) => reasons.push(reason),
    )();
  expect(reasons).toEqual([]);
  of.count(
    caller,
    () => 1,
    (reason) => reasons.push(reason),
  )();
  expect(reasons).toHaveLength(1);
});
