import { beforeEach, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { FoldedRefusals, type RefusalEvent } from './refusals.ts';

let clock: ManualClock;
let recorded: RefusalEvent[];
let folded: FoldedRefusals;
let drawn: number;
beforeEach(() => {
  clock = new ManualClock(NOW);
  recorded = [];
  drawn = 0;
  folded = new FoldedRefusals({
    clock,
    windowSeconds: 60,
    inFull: 1,
    record: (refusal) => void recorded.push(refusal),
    randomBytes: (size) => {
      drawn += 1;
      return new Uint8Array(size).fill(drawn);
    },
  });
});
const FIRST = '01010101';
const refused = (peer: string, detail = 'no', reference = FIRST): RefusalEvent => ({
  type: 'request.refused',
  rpc: 'Apply',
  code: 'operator_role',
  detail,
  peer,
  reference,
});

test('records the first refusal of a kind in full and the rest as one with their number', () => {
  for (let n = 0; n < 1000; n += 1) folded.tell(refused('a', `no ${n}`));
  expect(recorded).toEqual([refused('a', 'no 0')]);
  folded.close();
  expect(recorded.slice(1)).toEqual([{ ...refused('a', 'no 999'), more: 999 }]);
});

test('keeps other peers, methods and codes apart', () => {
  const kinds = [
    refused('a'),
    refused('b', 'no', '02020202'),
    { ...refused('a'), rpc: 'Renew' },
    { ...refused('a'), code: 'no_peer' as const },
  ];
  for (const each of kinds) folded.tell(each);
  expect(recorded).toEqual(kinds);
});

test('begins a new window with a refusal in full', async () => {
  folded.tell(refused('a'));
  folded.tell(refused('a'));
  clock.advanceTo(after(61));
  await vi.waitFor(() => expect(recorded).toHaveLength(2));
  folded.tell(refused('a', 'again'));
  expect(recorded).toEqual([refused('a'), { ...refused('a'), more: 1 }, refused('a', 'again', '02020202')]);
});

test('counts the refusals of a crowd together', () => {
  for (let n = 0; n < 100_000; n += 1) folded.tell(refused(`peer ${n}`));
  folded.close();
  expect(recorded).toHaveLength(258);
  expect(recorded.at(-1)).toMatchObject({ peer: 'further peers', more: 99_743 });
});

test('gives one reference to all refusals of a peer in a window, whatever their reason', () => {
  const other: RefusalEvent = { ...refused('a'), code: 'no_identity' };
  expect([folded.tell(refused('a')), folded.tell(other), folded.tell(refused('a'))]).toEqual([
    FIRST,
    FIRST,
    FIRST,
  ]);
  expect(folded.tell(refused('b'))).toBe('02020202');
});

test('gives a crowd one reference beyond its bound', () => {
  for (let n = 0; n < 10_000; n += 1) folded.tell(refused(`peer ${n}`));
  expect(drawn).toBe(4_097);
});
