import { beforeEach, describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { Acknowledged, type Acknowledgement, type Parts } from './acknowledged.ts';

const parts = (bundle: bigint, policy: bigint, revocations: bigint): Parts => ({
  bundle,
  policy,
  revocations,
});

/** Sent 10 (1, 4, 5) and 12 (1, 5, 6). */
let acknowledged: Acknowledged;
beforeEach(() => {
  acknowledged = new Acknowledged();
  acknowledged.sending(10n, parts(1n, 4n, 5n));
  acknowledged.sending(12n, parts(1n, 5n, 6n));
});
const state = () => ({ sequence: acknowledged.sequence, parts: acknowledged.parts });

describe('an agent has', () => {
  test.each<readonly [string, readonly Acknowledgement[], bigint, Parts]>([
    ['nothing before its first acknowledgement', [], 0n, parts(0n, 0n, 0n)],
    [
      'all parts of a snapshot that it acknowledges without naming them',
      [{ sequence: 10n }],
      10n,
      parts(1n, 4n, 5n),
    ],
    ['the parts of the newest one, where it leaves out another', [{ sequence: 12n }], 12n, parts(1n, 5n, 6n)],
    ['what it had, where it names a snapshot that was not sent', [{ sequence: 11n }], 11n, parts(0n, 0n, 0n)],
    ['the parts that it names', [{ sequence: 12n, parts: parts(1n, 5n, 6n) }], 12n, parts(1n, 5n, 6n)],
    [
      'a part of a snapshot that it does not follow',
      [
        { sequence: 10n, parts: parts(1n, 4n, 5n) },
        { sequence: 10n, parts: parts(1n, 4n, 6n) },
      ],
      10n,
      parts(1n, 4n, 6n),
    ],
    ['a part before any whole snapshot', [{ sequence: 0n, parts: parts(0n, 0n, 6n) }], 0n, parts(0n, 0n, 6n)],
    [
      'all of a snapshot, though it names less',
      [{ sequence: 12n, parts: parts(0n, 0n, 0n) }],
      12n,
      parts(1n, 5n, 6n),
    ],
  ])('%s', (_, said, sequence, has) => {
    for (const each of said) acknowledged.take(each);
    expect(state()).toEqual({ sequence, parts: has });
  });

  test.each<readonly [Partial<Parts>, boolean]>([
    [{}, true],
    [{ bundle: 1n }, true],
    [{ policy: 5n }, false],
    [{ revocations: 6n }, true],
    [{ bundle: 1n, policy: 5n }, false],
  ])('what is asked for: %o', (wanted, has) => {
    acknowledged.take({ sequence: 10n, parts: parts(1n, 4n, 6n) });
    expect(acknowledged.has(wanted)).toBe(has);
  });
});

describe('refused is an acknowledgement', () => {
  test.each<readonly [string, Acknowledgement, RegExp]>([
    ['of nothing new', { sequence: 10n }, /^acknowledged 10 after 10$/],
    ['of nothing new in any part', { sequence: 10n, parts: parts(1n, 4n, 5n) }, /^acknowledged 10 after 10$/],
    ['that goes back', { sequence: 9n }, /^acknowledged 9 after 10$/],
    [
      'that goes back with a part ahead',
      { sequence: 9n, parts: parts(1n, 5n, 6n) },
      /^acknowledged 9 after 10$/,
    ],
    ['of what was not sent', { sequence: 13n }, /^acknowledged 13, which was not sent$/],
    [
      'of a part that was not sent',
      { sequence: 12n, parts: parts(2n, 5n, 6n) },
      /^acknowledged bundle 2, which was/,
    ],
    [
      'of a part that goes back',
      { sequence: 12n, parts: parts(1n, 3n, 6n) },
      /^acknowledged policy 3 after 4$/,
    ],
  ])('%s', (_, said, message) => {
    acknowledged.take({ sequence: 10n });
    const before = state();
    expect(() => acknowledged.take(said)).toThrow(refusal('out_of_order', message));
    expect(state()).toEqual(before);
  });
});

test('snapshots that nobody acknowledges are forgotten from the oldest on', () => {
  for (let n = 100n; n < 1_000n; n += 1n) acknowledged.sending(n, parts(1n, n, 6n));
  acknowledged.take({ sequence: 500n });
  expect(state()).toEqual({ sequence: 500n, parts: parts(0n, 0n, 0n) });
  acknowledged.take({ sequence: 936n });
  expect(acknowledged.parts.policy).toBe(936n);
});
