/** What a gateway reports is words of others: it must cost the CA little, and hide nothing. */
import { join } from 'node:path';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterAll, afterEach, beforeEach, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../../test/kit/processes.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { KEPT_EXPIRED_MS } from '../kept.ts';
import type { EntryQuery, ReportedCall } from '../log-store.ts';
import type { Store } from '../store.ts';
import { beginLife } from './file/second-life.ts';
import { openSqlite } from './sqlite.ts';

const ID = 'spiffe://prod.example';
const spool = { reporter: parseSpiffeId(`${ID}/gateway`), spool: '07'.repeat(16) };
const TEXTS = ['reason', 'detail', 'session', 'method', 'rule', 'approval', 'kind'];
const MORE_TEXTS = [
  ...['from', 'address', 'httpMethod', 'since', 'argumentsSha256', 'outcome', 'resultSha256'],
  ...['requestId', 'code', 'traceparent', 'caller', 'serial'],
];
const folder = makeFolder();
afterAll(() => removeFolder(folder));
let databases = 0;
let store: Store;
let clock: ManualClock;
let reported: number;

beforeEach(async () => {
  clock = new ManualClock(NOW);
  store = await openSqlite(':memory:', clock);
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
  ({ through: reported } = await store.report(spool, 1, events));
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

test.each([
  ['DEL', '\u007f'.repeat(4000)],
  ['zero width', '\u200b'.repeat(1300)],
  ['letters', 'x'.repeat(4000)],
  ['letters, and DEL', `${'x'.repeat(2000)}${'\u007f'.repeat(2000)}`],
  ['quotes', '"'.repeat(2000)],
])('I171 a record of %s is an entry with its fields, bounded as they are stored', async (_, text) => {
  await report({
    tool: text,
    ...Object.fromEntries([...TEXTS, ...MORE_TEXTS].map((field) => [field, text])),
  });
  const { entries } = await store.leaves(0, 10);
  const { record, number } = JSON.parse(entries[0] ?? '') as ReportedCall;
  expect([number, record.server, String(record['reason']).slice(0, 80)]).toEqual([1, 's', text.slice(0, 80)]);
  expect(Buffer.byteLength(entries[0] ?? '')).toBeLessThan(65_536);
  await report({ reason: text });
  expect((await store.leaves(1, 10)).entries[0]?.length).toBeLessThan(4096 + 500);
});

/** As the log has events that are too long; a call of an older CA without its place, too. */
const CUT = { bytes: 70_000, sha256: 'ab'.repeat(32) };
const HARMLESS: readonly object[] = [
  ...['svid.issuing', 'svid.issued', 'svid.failed', 'node.attested', 'operator.signedIn', 'request.refused'],
  ...['operator.acting', 'registry.applied', 'authority.certifying', 'authority.moved', 'review.signedOff'],
  ...['countersign.requested', 'countersign.signed', 'ca.restored', 'log.pruned', 'call.recorded'],
].map((type) => ({ type, ...CUT }));

async function restored(events: readonly object[]): Promise<void> {
  databases += 1;
  const path = join(folder, `${databases}.db`);
  const clock = new ManualClock(NOW);
  await (await openSqlite(path, clock)).close();
  const lost = events.map((event) => ({ at: NOW, event: JSON.stringify(event) }));
  beginLife(path, { now: NOW, backupAt: NOW, lost, entries: 0, holds: false, reason: 'x', by: 'uid 0' });
  await store.close();
  store = await openSqlite(path, clock);
}

test('I171 cut entries of every type are put in again, indexed and searched', async () => {
  const place = { ...spool, serial: '40aa', number: 7 };
  await restored([...HARMLESS, { type: 'call.recorded', ...place, ...CUT }]);
  const counts = async () => {
    const queries = [
      {},
      { decision: 'denied' },
      { decision: 'allowed' },
      { words: [spool.reporter] },
    ] as const;
    return Promise.all(queries.map(async (query) => (await found(query)).texts.length));
  };
  const read = await counts();
  // One more says that it was restored.
  expect(read).toEqual([HARMLESS.length + 2, 1, 3, 1]);
  await indexAll();
  expect(await counts()).toEqual(read);
  // A record that has come does not come again.
  expect(await store.reportedThrough(spool)).toMatchObject({ through: 7 });
});

test.each(['authority.certified', 'authority.tainted', 'revocation.made', 'revocation.lifted'] as const)(
  'I171 a cut %s is not passed over in a restore',
  async (type: AuditEvent['type']) => {
    await expect(restored([{ type, ...CUT }])).rejects.toThrow(
      refusal('store', /too long to say what it did/),
    );
  },
);

test('I172 a page of a search is bounded by bytes, by the index and without, and pages have every entry once', async () => {
  const run = 'a'.repeat(4000);
  const texts = Object.fromEntries(TEXTS.map((field) => [field, run]));
  // 160 records of 28 KB: a page ends with the rows that reach 2 MiB.
  for (let n = 0; n < 20; n += 1) await report(...Array(8).fill({ ...texts, tool: 't' }));
  const counts = async (query: Partial<EntryQuery>) => {
    const { texts: entries, pages } = await found(query);
    return [entries.length, new Set(entries).size, pages];
  };
  const tool = { words: ['"tool":"t"'] };
  // No page ends by its time, however busy the machine is.
  const still = vi.spyOn(performance, 'now').mockReturnValue(0);
  for (const backwards of [false, true]) {
    expect(await counts({ backwards, text: `${'a'.repeat(250)}b` })).toEqual([0, 0, 2]);
    expect(await counts({ backwards, text: 'AAAA' })).toEqual([160, 160, 2]);
    expect(await counts({ backwards, ...tool })).toEqual([160, 160, 2]);
  }
  await indexAll();
  for (const backwards of [false, true]) expect(await counts({ backwards, ...tool })).toEqual([160, 160, 3]);
  still.mockRestore();
});

test.each(['⚙️ settings', 'soft\u00adhyphen', '\u{1f468}\u200d\u{1f4bb}', 'a"b\\c', 'lone\ud800', 'NaïVE %_'])(
  'I173 a tool that a hostile server names %j is found by its name and as text',
  async (tool) => {
    await report({ tool, reason: `because of ${tool}` });
    const word = `"tool":${JSON.stringify(tool)}`;
    const counts = async () =>
      Promise.all(
        [{ words: [word] }, { text: tool }, { text: `OF ${tool}` }].map(
          async (query) => (await found(query)).texts.length,
        ),
      );
    expect(await counts()).toEqual([1, 1, 1]);
    await indexAll();
    expect(await counts()).toEqual([1, 1, 1]);
  },
);

test('the spools of nodes that are gone are forgotten after 180 days, by the time of the upkeep', async () => {
  const days = (count: number) => clock.advanceTo(new Date(NOW.getTime() + count * 24 * 60 * 60 * 1000));
  const through = async (name: string) => (await store.reportedThrough({ ...spool, spool: name })).through;
  const first = async (name: string, reporter: string, node: string) => {
    const { record } = {
      record: { id: 'a', stage: 'decided', time: NOW.toISOString(), server: 's' },
    } as const;
    const about = { reporter: parseSpiffeId(`${ID}/${reporter}`), spool: name, node };
    await store.report(about, 1, [{ type: 'call.recorded', ...about, serial: '40aa', number: 1, record }]);
  };
  const [gone, other] = ['08', '09'].map((byte) => byte.repeat(16)) as [string, string];
  const pruned = (count: number) => store.prune(after(count * 86_400 - KEPT_EXPIRED_MS / 1000));
  await first(gone, 'gateway', 'gcp/1');
  // The clock is far ahead, which the upkeep does not go by.
  days(400);
  await first(other, 'other', 'gcp/2');
  await pruned(180);
  expect(await through(gone)).toBe(1);
  await pruned(181);
  expect(await through(gone)).toBe(0);
});
