/**
 * Audit events, in the order of their writing; the entries of the Merkle log and its checkpoints.
 */

import type { EntryQuery, FoundEntry } from '@chancery/ca/store/log-store.ts';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { expect, test } from 'vitest';
import { after, NOW } from '../certificates.ts';
import { refusal } from '../refusal.ts';
import { reportTests } from './log/reports.ts';
import { authority, draft, event } from './records.ts';
import type { Subject } from './subject.ts';

export function auditTests(subject: Subject): void {
  logTests(subject);
  reportTests(subject);
  for (const each of INDEXES) searchTests(subject, each);
  test('audit entries are read in order, page by page', async () => {
    for (const sequence of [1, 2, 3]) await subject.store.append({ ...event, sequence });
    const read = async (from: number, limit: number) =>
      (await subject.store.events(from, limit)).map(({ sequence }) => sequence);
    expect(await read(0, 2)).toEqual([1, 2]);
    expect(await read(2, 2)).toEqual([3]);
  });

  test('the newest record has the time of the clock when it was written', async () => {
    expect(await subject.store.newestRecordAt()).toBeUndefined();
    await subject.store.append(event);
    expect(await subject.store.newestRecordAt()).toEqual(NOW);
    subject.clock.advanceTo(after(5));
    await subject.store.append(event);
    expect(await subject.store.newestRecordAt()).toEqual(after(5));
  });

  test('an event that may be late goes along with the next write, before it', async () => {
    const late = { ...event, sequence: 1 };
    subject.store.appendSoon(late);
    await subject.store.append(event);
    expect((await subject.store.events(0, 9)).map((each) => each.event)).toEqual([late, event]);
  });

  test('an event that may be late is written at the close', async () => {
    subject.store.appendSoon(event);
    await subject.store.close();
    await subject.restart();
    expect(await subject.store.events(0, 9)).toHaveLength(1);
  });

  test('what waits at the close is written, and everything after it is refused', async () => {
    const { store } = subject;
    const waiting = store.append(event);
    await store.close();
    await waiting;
    const closed = refusal('store', /^the store is closed$/);
    await expect(store.append(event)).rejects.toThrow(closed);
    await expect(store.events(0, 1)).rejects.toThrow(closed);
    await store.close();
    await subject.restart();
    expect(await subject.store.events(0, 9)).toHaveLength(1);
  });
}

const acting = (about: string): AuditEvent => ({
  type: 'operator.acting',
  verb: 'apply',
  about,
  by: 'uid 0',
});
const checkpoint = (size: number) => ({ size, root: 'ab', through: size * 2, note: `note ${size}` });

function logTests(subject: Subject): void {
  test('entries come in the order of their writing, in pages, with their time; telemetry is none', async () => {
    const { store } = subject;
    await store.append(acting('1'));
    await store.append(event);
    await store.append(acting('2'));
    const first = await store.leaves(0, 2);
    expect(first.entries.map((each) => JSON.parse(each))).toEqual([
      { at: NOW.toISOString(), ...acting('1') },
    ]);
    const second = await store.leaves(first.through, 2);
    expect(second.entries).toHaveLength(1);
    expect(await store.leaves(second.through, 2)).toEqual({
      entries: [],
      through: second.through,
      more: false,
    });
    await subject.restart();
    expect(await subject.store.leaves(0, 2)).toEqual(first);
  });

  test('what no checkpoint covers is counted, without telemetry, with its oldest time', async () => {
    const { store } = subject;
    expect(await store.waiting()).toEqual({ events: 0, since: undefined });
    for (const each of [acting('1'), event, acting('2')]) await store.append(each);
    expect(await store.waiting()).toEqual({ events: 2, since: NOW });
    const { through } = await store.leaves(0, 2);
    await store.saveCheckpoint(0, { ...checkpoint(1), through });
    expect(await store.waiting()).toEqual({ events: 1, since: NOW });
  });

  test('a change is an entry as soon as it is durable', async () => {
    await subject.store.saveAuthority(authority, acting('root'));
    await subject.store.revoke(draft, 9);
    const { entries } = await subject.store.leaves(0, 10);
    expect(entries.map((each) => JSON.parse(each).type)).toEqual(['operator.acting', 'revocation.made']);
  });

  test('a checkpoint follows only the one from which it was made, so there is one for each size', async () => {
    const { store } = subject;
    expect(await store.checkpoint()).toBeUndefined();
    expect(await store.saveCheckpoint(1, checkpoint(2))).toBe(false);
    expect(await store.saveCheckpoint(0, checkpoint(2))).toBe(true);
    expect(await store.saveCheckpoint(0, { ...checkpoint(2), root: 'cd' })).toBe(false);
    const both = [store.saveCheckpoint(2, checkpoint(3)), store.saveCheckpoint(2, checkpoint(4))];
    expect(await Promise.all(both)).toEqual([true, false]);
    await expect(store.saveCheckpoint(3, checkpoint(3))).rejects.toThrow(
      refusal('store', /cannot follow one of 3/),
    );
    await subject.restart();
    expect(await subject.store.checkpoint()).toEqual(checkpoint(3));
    expect(await subject.store.checkpoint(2)).toEqual(checkpoint(2));
    expect(await subject.store.checkpoint(1)).toBeUndefined();
  });
}

/** What the index has by then must make no difference. */
const INDEXES: readonly (readonly [string, (subject: Subject) => Promise<unknown>])[] = [
  ['without an index', async () => {}],
  ['with a part of the index', ({ store }) => store.indexEvents(2)],
  [
    'with an index',
    async ({ store }) => {
      while (await store.indexEvents(1));
    },
  ],
];

function searchTests(subject: Subject, [name, index]: (typeof INDEXES)[number]): void {
  const query = {
    words: [],
    text: '',
    decision: undefined,
    since: 0,
    until: Number.MAX_SAFE_INTEGER,
    place: undefined,
    backwards: false,
    limit: 1000,
  };
  const abouts = async (asked: Partial<EntryQuery>) => {
    await index(subject);
    const found: FoundEntry[] = [];
    let [place, more]: [number | undefined, boolean] = [asked.place, true];
    while (more && found.length < (asked.limit ?? 1000)) {
      const page = await subject.store.search({ ...query, ...asked, place });
      found.push(...page.found);
      ({ place, more } = page);
    }
    return found.map(({ text }) => JSON.parse(text)['about']);
  };

  test(`${name}: entries are found by whole words, by text and by time, forwards and backwards`, async () => {
    const { store, clock } = subject;
    await store.append(acting('id spiffe://test.example/a'));
    await store.append(event);
    clock.advanceTo(after(5));
    await store.append(acting('id spiffe://test.example/a/b 100% "of" it'));
    expect(await abouts({})).toHaveLength(2);
    expect(await abouts({ words: ['spiffe://test.example/a'] })).toEqual(['id spiffe://test.example/a']);
    expect(await abouts({ words: ['spiffe://test.example/a', 'operator.acting'] })).toHaveLength(1);
    expect(await abouts({ words: ['test.example'] })).toEqual([]);
    for (const text of ['TEST.example/A/B', '00% "', 'OF" it'])
      expect(await abouts({ text })).toHaveLength(1);
    expect(await abouts({ text: '1_0%' })).toEqual([]);
    expect(await abouts({ since: after(5).getTime() })).toHaveLength(1);
    expect(await abouts({ until: after(5).getTime() })).toEqual(['id spiffe://test.example/a']);
    expect(await abouts({ backwards: true, limit: 1 })).toEqual([expect.stringContaining('a/b')]);
    expect(await abouts({ decision: 'denied' })).toEqual([]);
    await store.append({ type: 'request.refused', rpc: 'Renew', code: 'csr_pop', detail: 'x', peer: 'y' });
    expect(await abouts({ decision: 'denied', words: ['csr_pop'] })).toHaveLength(1);
  });

  test(`${name}: pages have every entry once, with its index as soon as it is integrated`, async () => {
    const { store } = subject;
    for (let n = 0; n < 7; n += 1) {
      await store.append(acting(`${n}`));
      if (n % 3 === 0) await store.append(event);
    }
    const pages = async (backwards: boolean) => {
      await index(subject);
      const indexes: (number | undefined)[] = [];
      let [place, more]: [number | undefined, boolean] = [undefined, true];
      while (more) {
        const page = await store.search({ ...query, backwards, limit: 2, place });
        indexes.push(...page.found.map(({ index }) => index));
        ({ place, more } = page);
      }
      return indexes;
    };
    expect(await pages(false)).toEqual(Array(7).fill(undefined));
    const three = await store.leaves(0, 4);
    expect(three.entries).toHaveLength(3);
    await store.saveCheckpoint(0, { ...checkpoint(3), through: three.through });
    const rest = await store.leaves(three.through, 100);
    await store.saveCheckpoint(3, { ...checkpoint(7), through: rest.through });
    await store.append(acting('8'));
    expect(await pages(false)).toEqual([0, 1, 2, 3, 4, 5, 6, undefined]);
    expect(await pages(true)).toEqual([undefined, 6, 5, 4, 3, 2, 1, 0]);
    const { newest } = await store.search({ ...query, backwards: true });
    await store.append(acting('9'));
    expect(await abouts({ place: newest })).toEqual(['9']);
  });
}
