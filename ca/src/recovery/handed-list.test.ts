import { expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { HandedList, type Revoked } from './handed-list.ts';

const revoked = (number: number, changes: Partial<Revoked> = {}): Revoked => ({
  number: BigInt(number),
  kind: 'node',
  value: 'unix/n1',
  serials: [],
  reason: 'keyCompromise',
  until: 0n,
  ...changes,
});
const MORE = { kind: '', value: '', reason: '' };

test('a list is whole after its last part, and serials go on where they were cut', () => {
  const list = new HandedList();
  list.add([revoked(1), revoked(3, { serials: ['40aa'] })]);
  list.add([revoked(3, { ...MORE, serials: ['40bb', '40cc'] }), revoked(4)]);
  expect(list.list).toEqual([revoked(1), revoked(3, { serials: ['40aa', '40bb', '40cc'] }), revoked(4)]);
});

test.each<[string, readonly Revoked[], RegExp]>([
  ['nothing', [], /has no revocation/],
  ['a target of no kind', [revoked(2, { kind: '', value: '' })], /nothing is revoked by nothing/],
  ['a serial that is none', [revoked(2, { serials: ['x'] })], /serial/],
  [
    'a serial that is none, of a revocation that goes on',
    [revoked(1, { ...MORE, serials: ['x'] })],
    /serial/,
  ],
  ['another reason', [revoked(2, { reason: 'fun' })], /reason/],
  ['the number of the one before', [revoked(1)], /not in order/],
  ['a smaller number', [revoked(0)], /not in order/],
  ['too many', Array.from({ length: 20_000 }, (_, n) => revoked(n + 2)), /more than 20000 entries/],
  [
    'too many certificates',
    [2, 3].map((n) => revoked(n, { serials: Array.from({ length: 100_001 }, () => '40aa') })),
    /more than 200000 certificates/,
  ],
])('I226 a part of a list with %s is refused at once', (_, part, says) => {
  const list = new HandedList();
  list.add([revoked(1)]);
  expect(() => list.add(part)).toThrow(refusal('revocation', says));
});
