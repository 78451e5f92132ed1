import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EntryQuery } from '../log-store.ts';
import { MIGRATIONS } from './file/schema.ts';
import { EntryIndex } from './tables/entry-index.ts';
import { EntrySearch } from './tables/entry-search.ts';

/** Events of three segments; the clock was a day ahead for a while. */
const EVENTS = 140_000;
const ID = 'spiffe://test.example';
let db: DatabaseSync;
let index: EntryIndex;

beforeAll(() => {
  db = new DatabaseSync(':memory:');
  for (const step of MIGRATIONS) db.exec(step);
  db.exec(`
    WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ${EVENTS})
    INSERT INTO audit (sequence, at, event, leaf) SELECT n,
      n * 1000 + iif(n BETWEEN 70000 AND 70500, 86400000, 0),
      json_object('type', iif(n % 1000 = 7, 'request.refused', 'svid.issuing'),
        'id', '${ID}/' || iif(n % 40000 = 5, 'rare', 'often'), 'n', n),
      n % 7 <> 0 FROM n;
    INSERT INTO checkpoints SELECT count(*), '', ${EVENTS - 10}, '', 0 FROM audit
      WHERE sequence <= ${EVENTS - 10} AND leaf = 1;
  `);
  index = new EntryIndex(db);
});
afterAll(() => db.close());

const QUERIES: readonly (readonly [string, Partial<EntryQuery>])[] = [
  ['a rare identity', { words: [`${ID}/rare`] }],
  ['an identity that is not there', { words: [`${ID}/none`] }],
  ['a frequent identity, denied', { words: [`${ID}/often`], decision: 'denied' }],
  ['what is denied', { decision: 'denied' }],
  ['a time', { since: 69_900_000, until: 70_003_000 }],
  ['a time while the clock was ahead', { since: 156_420_000, until: 156_425_000 }],
  ['a frequent identity in a time', { words: [`${ID}/often`], since: 139_980_000, until: 140_001_000 }],
  ['a time that is not there', { since: 400_000_000 }],
  ['text in a time', { text: ':699', since: 69_000_000, until: 71_000_000 }],
];

/** Time stands still, so that the bounds on rows decide alone. */
function all(query: Partial<EntryQuery>, backwards: boolean, monotonic = () => 0) {
  const search = new EntrySearch(db, index, monotonic);
  const found: unknown[] = [];
  let [place, more, pages]: [number | undefined, boolean, number] = [undefined, true, 0];
  for (; more; pages += 1) {
    const page = search.search({
      words: [],
      text: '',
      decision: undefined,
      since: 0,
      until: Number.MAX_SAFE_INTEGER,
      ...query,
      place,
      backwards,
      limit: 37,
    });
    found.push(...page.found);
    ({ place, more } = page);
  }
  return { found, pages };
}

test('the index finds what reading finds, in the same order, and looks at less', () => {
  const asked = QUERIES.flatMap(([name, query]) =>
    [false, true].map((backwards) => ({ name, query, backwards })),
  );
  const read = asked.map(({ query, backwards }) => all(query, backwards));
  expect(read.map(({ found }) => found.length > 0)).toEqual(
    asked.map(({ name }) => !name.includes('not there')),
  );
  while (index.mark().through < 100_000) index.fill(10_000);
  const half = asked.map(({ query, backwards }) => all(query, backwards));
  while (index.fill(10_000));
  const indexed = asked.map(({ query, backwards }) => all(query, backwards));
  for (const [n, { name }] of asked.entries()) {
    expect([name, half[n]?.found]).toEqual([name, read[n]?.found]);
    expect([name, indexed[n]?.found]).toEqual([name, read[n]?.found]);
    // A page is what one visit of the database looks at: 15 were needed to read all.
    expect([name, (indexed[n]?.pages ?? 99) <= 6]).toEqual([name, true]);
  }
});

test('I213 a page ends after its time, and the next one goes on from there', () => {
  while (index.fill(10_000));
  for (const [name, query] of QUERIES)
    for (const backwards of [false, true]) {
      let now = 0;
      // Each look at the clock takes a fifth of a page.
      const slow = all(query, backwards, () => (now += 10));
      const whole = all(query, backwards);
      expect([name, slow.found]).toEqual([name, whole.found]);
      if (name.includes('frequent') || name === 'what is denied')
        expect([name, slow.pages > whole.pages]).toEqual([name, true]);
    }
});

test('one page looks at 1,000 events that the index finds, and the next one goes on', () => {
  while (index.fill(10_000));
  const query = { words: [`${ID}/often`], text: 'no event has it', decision: undefined };
  const search = new EntrySearch(db, index, () => 0);
  const page = search.search({
    ...query,
    since: 0,
    until: Number.MAX_SAFE_INTEGER,
    place: undefined,
    backwards: true,
    limit: 37,
  });
  expect(page).toMatchObject({ found: [], more: true });
  expect(EVENTS - page.place).toBeGreaterThan(999);
  expect(EVENTS - page.place).toBeLessThan(1_300);
});
