/** M103: a file of records that is full, while the spool beside it is not. */
import { expect, test } from 'vitest';
import { recordBeside } from './beside.ts';
import type { SpooledEvent } from './call-spool.ts';

const server = 'everything';
const [let1, answer] = [
  { server, stage: 'decided', allow: true },
  { server, stage: 'answered' },
];

function world(isFull: boolean, hasRoom = true) {
  const [spooled, filed]: [SpooledEvent[], SpooledEvent[]] = [[], []];
  const spool = {
    record: (...events: readonly SpooledEvent[]) => void spooled.push(...events),
    ensureRoom: () => {
      if (!hasRoom) throw new Error('the spool is full');
    },
  };
  const file = (...events: readonly SpooledEvent[]) => {
    if (isFull) throw new Error('the disk is full');
    filed.push(...events);
  };
  const record = (...events: readonly SpooledEvent[]) => recordBeside({ spool, file }, events);
  return { record, spooled, filed };
}

test('records are in both', () => {
  const { record, spooled, filed } = world(false);
  record(let1, answer);
  expect([spooled, filed]).toEqual([
    [let1, answer],
    [let1, answer],
  ]);
});

test('M103 a call that the file refuses is not in the spool, and each answer is there once', () => {
  const { record, spooled } = world(true);
  expect(() => record(let1, answer)).toThrow('the disk is full');
  expect(spooled).toEqual([]);
  // The gateway then writes the answers alone.
  expect(() => record(answer)).toThrow('the disk is full');
  expect(spooled).toEqual([answer]);
});

test('M103 a call that the spool has no room for is not in the file', () => {
  const { record, filed } = world(false, false);
  expect(() => record(let1, answer)).toThrow('the spool is full');
  expect(filed).toEqual([]);
});
