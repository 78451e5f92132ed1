/** What a gateway reports is words of others: it must cost the CA little, and hide nothing. */
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import type { EntryQuery, ReportedCall } from '../log-store.ts';
import type { Store } from '../store.ts';
import { openSqlite } from './sqlite.ts';

const ID = 'spiffe://prod.example';
const spool = { reporter: parseSpiffeId(`${ID}/gateway`), spool: '07'.repeat(16) };
const TEXTS = ['reason', 'detail', 'session', 'method', 'rule', 'approval', 'kind'];
let store: Store;
let reported: number;

beforeEach(async () => {
  store = await openSqlite(':memory:', new ManualClock(NOW));
  reported = 0;
});
afterEach(() => store.close());

/** Each is one call of server `s`, with these fields. */
async function report(...records: readonly Readonly<Record<string, string>>[]): Promise<void> {
  const called = { stage: 'decided', time: NOW.toISOString(), server: 's' } as const;
  const events = records.map((record, n): ReportedCall => {
    const number = reported + n + 1;
    return {
      type: 'call.recorded',
      ...spool,
      serial: '40aa',
      number,
      record: { id: 'a', ...called, ...record },
    };
  });
  reported = await store.report(spool, 1, events);
}

const QUERY = { words: [], text: '', decision: undefined, since: 0, until: Number.MAX_SAFE_INTEGER };

/** All entries that are found, page by page. */
async function found(
  query: Partial<EntryQuery>,
): Promise<{ readonly texts: string[]; readonly pages: number }> {
  const texts: string[] = [];
  let [place, more, pages]: [number | undefined, boolean, number] = [undefined, true, 0];
  for (; more; pages += 1) {
    const asked = { ...QUERY, backwards: true, limit: 1000, ...query, place };
    const page = await store.search(asked);
    texts.push(...page.found.map(({ text }) => text));
    ({ place, more } = page);
  }
  return { texts, pages };
}

const indexAll = async (): Promise<number> => {
  let steps = 1;
  while (await store.indexEvents(500)) steps += 1;
  return steps;
};

const manyIds = (count: number): string => Array.from({ length: count }, (_, n) => `${ID}/x${n}`).join(' ');

test('I170 a record full of SPIFFE IDs has the words of its own fields, by index and by reading', async () => {
  await report(
    {
      caller: `${ID}/a`,
      code: 'rate',
      tool: 't',
      ...Object.fromEntries(TEXTS.map((field) => [field, manyIds(100)])),
    },
    { caller: `${ID}/x5`, detail: '"tool":"t"', code: '"tool":"t"' },
  );
  const counts = async () => {
    const words = [`${ID}/a`, `${ID}/gateway`, `${ID}/x5`, `${ID}/x6`, 'rate', '"tool":"t"', '"server":"s"'];
    return Promise.all(words.map(async (word) => (await found({ words: [word] })).texts.length));
  };
  expect(await counts()).toEqual([1, 2, 1, 0, 1, 1, 2]);
  await indexAll();
  expect(await counts()).toEqual([1, 2, 1, 0, 1, 1, 2]);
  // What a text mentions is found as text.
  expect((await found({ text: `${ID}/x6` })).texts).toHaveLength(1);
});

test('I170 one step of the index is short, whatever it reads', async () => {
  const text = 'x'.repeat(3900);
  for (let n = 0; n < 6; n += 1)
    await report(...Array(8).fill(Object.fromEntries(TEXTS.map((field) => [field, text]))));
  // 48 records of 27 KB: a step reads half a megabyte.
  expect(await indexAll()).toBeGreaterThanOrEqual(3);
  for (let n = 0; n < 100; n += 1)
    await store.append({ type: 'operator.acting', verb: 'apply', about: manyIds(60 - (n % 5)), by: 'uid 0' });
  // 5,800 words: a step writes 2,000.
  expect(await indexAll()).toBeGreaterThanOrEqual(3);
});

test('I170 an event with more words than the index takes is read, so every word of it is found', async () => {
  const acting = (about: string) => ({ type: 'operator.acting', verb: 'apply', about, by: 'uid 0' }) as const;
  for (const about of [manyIds(3), manyIds(150), 'x']) await store.append(acting(about));
  const counts = async () => {
    const queries = [[`${ID}/x2`], [`${ID}/x149`], [`${ID}/x149`, `${ID}/x2`], [`${ID}/none`]];
    return Promise.all(queries.map(async (words) => (await found({ words })).texts.length));
  };
  const read = await counts();
  expect(read).toEqual([2, 1, 1, 0]);
  await indexAll();
  expect(await counts()).toEqual(read);
});
