import { beforeEach, expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { type RefusalEvent, Refusals } from './refusals.ts';

let clock: ManualClock;
let recorded: RefusalEvent[];
let refusals: Refusals;
beforeEach(() => {
  clock = new ManualClock(NOW);
  recorded = [];
  refusals = new Refusals({
    clock,
    inFull: 1,
    record: (refusal) => void recorded.push(refusal),
    onLost: (error) => {
      throw error;
    },
    referenceKey: new Uint8Array(32),
  });
});
const refused = (peer: string, detail = 'no'): RefusalEvent => ({
  type: 'request.refused',
  rpc: 'Apply',
  code: 'operator_role',
  detail,
  peer,
});
const tell = (refusal: RefusalEvent, isStranger = true) =>
  refusals.tell(refusal, { source: refusal.peer, isStranger });
const references = () => new Set(recorded.map(({ reference }) => reference));

test('the first refusal of a kind is recorded in full and the rest as one with their number', () => {
  for (let n = 0; n < 1000; n += 1) tell(refused('a', `no ${n}`));
  expect(recorded).toEqual([{ ...refused('a', 'no 0'), reference: expect.stringMatching(/^[0-9a-f]{8}$/) }]);
  refusals.close();
  const since = NOW.toISOString();
  expect(recorded.slice(1)).toMatchObject([{ ...refused('a', 'no 999'), count: 999, since }]);
});

test('after its window a refusal is recorded in full again', async () => {
  tell(refused('a'));
  clock.advanceTo(after(61));
  await new Promise((resolve) => void setImmediate(resolve));
  tell(refused('a', 'again'));
  expect(recorded).toMatchObject([refused('a'), refused('a', 'again')]);
});

test('after closing nothing is folded', () => {
  refusals.close();
  for (let n = 0; n < 5; n += 1) tell(refused('a'));
  expect(recorded).toHaveLength(5);
});

test('all refusals of a peer have one reference, whatever their reason, and other peers another', () => {
  const own = tell(refused('a'));
  expect(tell({ ...refused('a'), code: 'no_identity' })).toBe(own);
  expect(tell(refused('a'), false)).not.toBe(own);
  expect(tell(refused('b'))).not.toBe(own);
});

test('each reference that is shown is in a record, in a crowd, too', () => {
  const shown = Array.from({ length: 3_000 }, (_, n) => tell(refused(`peer ${n}`)));
  expect(new Set(shown).size).toBe(1_001);
  expect(shown.filter((reference) => !references().has(reference))).toEqual([]);
  refusals.close();
  expect(recorded.at(-1)).toMatchObject({ peer: 'further peers', count: 1_999, reference: shown.at(-1) });
});

test('a crowd of strangers takes no place of a peer that has proved who it is', () => {
  for (let n = 0; n < 3_000; n += 1) tell(refused(`peer ${n}`));
  recorded.length = 0;
  const reference = tell(refused('uid 7', 'expired'), false);
  expect(recorded).toEqual([{ ...refused('uid 7', 'expired'), reference }]);
});
