import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { EarlyClaims } from './early-claims.ts';

const numbers = Array.from({ length: 20 }, (_, number) => number);
const always = (): boolean => true;

function claimsOf(kept = numbers) {
  const claims = new EarlyClaims<number, string>();
  for (const number of kept) claims.keep(number, 'next');
  return claims;
}

/** Judges all that are linked; tells how many it had judged when each few began. */
function judging() {
  const judged: number[] = [];
  const begun: number[] = [];
  const judgeOf = () => {
    begun.push(judged.length);
    return (number: number): void => void judged.push(number);
  };
  return { judged, begun, judgeOf };
}

test('M90 a claim that is not linked is not judged, and waits', async () => {
  const claims = claimsOf();
  const { judged, begun, judgeOf } = judging();
  await claims.judge((number) => number === 7, judgeOf);
  expect({ judged, begun }).toEqual({ judged: [7], begun: [0] });
  await claims.judge(always, judgeOf);
  expect(judged).toHaveLength(20);
});

test('M90 the linked ones are judged a few in one turn of the event loop, each once', async () => {
  const claims = claimsOf();
  const { judged, begun, judgeOf } = judging();
  const over = claims.judge(always, judgeOf);
  expect(judged).toHaveLength(8);
  await over;
  expect(begun).toEqual([0, 8, 16]);
  await claims.judge(always, judgeOf);
  expect(judged).toEqual(numbers);
});

test('M90 all messages that come while claims are judged cost one more look', async () => {
  const claims = claimsOf([1]);
  let looks = 0;
  const look = (): boolean => {
    looks += 1;
    return false;
  };
  const { judgeOf } = judging();
  const first = claims.judge(look, judgeOf);
  for (let told = 0; told < 100; told += 1) await claims.judge(look, judgeOf);
  await first;
  expect(looks).toBe(2);
});

test('M90 a claim that is gone or is another when its turn comes is not judged', async () => {
  const claims = claimsOf();
  const { judged, judgeOf } = judging();
  const over = claims.judge(always, judgeOf);
  claims.drop(18);
  claims.keep(19, 'other');
  await over;
  expect(judged).toEqual(numbers.slice(0, 18));
});

test('M90 a failure ends one look and not the next', async () => {
  const claims = claimsOf([1, 2]);
  const fails = claims.judge(always, () => () => {
    throw new Error('disk full');
  });
  await expect(fails).rejects.toThrow('disk full');
  const { judged, judgeOf } = judging();
  await Promise.all([claims.judge(always, judgeOf), turn()]);
  expect(judged).toEqual([2]);
});
