/** Records that gateways report, each once and none before one that is missing. */

import type { ReportedCall } from '@chancery/ca/store/log-store.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import { after, NOW } from '../../certificates.ts';
import { refusal } from '../../refusal.ts';
import type { Subject } from '../subject.ts';

const reporter = parseSpiffeId('spiffe://prod.example/gateway');
const spool = { reporter, spool: 'ab'.repeat(16) };

/** The records with these numbers. */
const calls = (...numbers: number[]): ReportedCall[] =>
  numbers.map((number) => ({
    type: 'call.recorded',
    ...spool,
    serial: '40aa',
    number,
    record: {
      id: `${number}`,
      stage: 'decided',
      time: NOW.toISOString(),
      server: 's',
      allow: number % 2 === 0,
    },
  }));

export function reportTests(subject: Subject): void {
  const numbers = async (): Promise<number[]> =>
    (await subject.store.events(0, 99)).map(({ event }) =>
      event.type === 'call.recorded' ? event.number : 0,
    );

  test('I118 records that were reported before are skipped, all or the first of them', async () => {
    const { store } = subject;
    expect(await store.reportedThrough(spool)).toMatchObject({ through: 0 });
    expect(await store.report(spool, 1, calls(1, 2, 3))).toMatchObject({ through: 3 });
    expect(await store.report(spool, 1, calls(1, 2))).toMatchObject({ through: 3 });
    expect(await store.report(spool, 1, calls(2, 3, 4, 5))).toMatchObject({ through: 5 });
    expect(await store.reportedThrough(spool)).toMatchObject({ through: 5 });
    expect(await numbers()).toEqual([1, 2, 3, 4, 5]);
  });

  test('I118 two that report the same records at once', async () => {
    const { store } = subject;
    const both = [store.report(spool, 1, calls(1, 2)), store.report(spool, 1, calls(1, 2))];
    expect((await Promise.all(both)).map(({ through }) => through)).toEqual([2, 2]);
    expect(await numbers()).toEqual([1, 2]);
  });

  test('I118 numbers that are missing are refused, except before the oldest record of the spool', async () => {
    const { store } = subject;
    await store.report(spool, 1, calls(1));
    const missing = refusal('out_of_order', /record 3 of the spool comes after 1/);
    await expect(store.report(spool, 1, calls(3))).rejects.toThrow(missing);
    expect(await store.report(spool, 3, calls(3))).toMatchObject({ through: 3 });
    expect(await store.report(spool, 3, calls(4))).toMatchObject({ through: 4 });
    expect(await numbers()).toEqual([1, 3, 4]);
  });

  test('the spools of two reporters, and two spools of one, have numbers of their own', async () => {
    const { store } = subject;
    const other = { reporter: parseSpiffeId('spiffe://prod.example/other'), spool: spool.spool };
    const second = { reporter, spool: 'cd'.repeat(16) };
    await store.report(spool, 1, calls(1, 2));
    const none = { through: 0, last: '' };
    expect([await store.reportedThrough(other), await store.reportedThrough(second)]).toEqual([none, none]);
    expect(await store.report(second, 1, calls(1))).toMatchObject({ through: 1 });
    expect(await store.reportedThrough(spool)).toMatchObject({ through: 2 });
  });

  test('I243 a record that is here under another digest: two gateways have one spool; nothing is taken', async () => {
    const { store } = subject;
    const digests = (...of: readonly string[]) => of.map((each) => each.repeat(64));
    const own = { through: 3, last: 'c'.repeat(64) };
    expect(await store.report(spool, 1, calls(1, 2, 3), digests('a', 'b', 'c'))).toEqual(own);
    expect(await store.report(spool, 1, calls(3, 4, 5), digests('d', 'e', 'f'))).toEqual(own);
    expect(await store.report(spool, 1, calls(2, 3), digests('b', 'd'))).toEqual(own);
    expect(await store.report(spool, 1, calls(1, 2), digests('x', 'y'))).toEqual(own);
    await subject.restart();
    expect(await subject.store.reportedThrough(spool)).toEqual(own);
    expect(await subject.store.report(spool, 1, calls(3, 4), digests('c', 'd'))).toMatchObject({
      through: 4,
    });
    expect(await numbers()).toEqual([1, 2, 3, 4]);
  });

  test('how far a spool has come outlasts the process, with its records', async () => {
    await subject.store.report(spool, 1, calls(1, 2));
    await subject.restart();
    expect(await subject.store.reportedThrough(spool)).toMatchObject({ through: 2 });
    expect(await numbers()).toEqual([1, 2]);
  });

  test('beyond a thousand spools of one reporter on one node the longest silent of these is forgotten', async () => {
    const { store, clock } = subject;
    await store.report(spool, 1, calls(1));
    clock.advanceTo(after(1));
    const others = Array.from({ length: 1000 }, (_, n) => n.toString(16).padStart(32, '0'));
    const elsewhere = { reporter, spool: 'ee'.repeat(16), node: 'tpm/b' };
    await store.report(elsewhere, 1, calls(1));
    for (const each of others.slice(1)) await store.report({ reporter, spool: each }, 1, calls(1));
    expect((await store.reportedThrough(spool)).through).toBe(1);
    await store.report({ reporter, spool: others[0] ?? '' }, 1, calls(1));
    expect((await store.reportedThrough(elsewhere)).through).toBe(1);
    expect(await store.reportedThrough(spool)).toMatchObject({ through: 0 });
    expect(await store.reportedThrough({ reporter, spool: others[0] ?? '' })).toMatchObject({ through: 1 });
  });

  test('records are entries of the log, and say how calls ended', async () => {
    await subject.store.report(spool, 1, calls(1, 2, 3));
    const query = { words: ['"server":"s"'], text: '', since: 0, until: 9e15, place: undefined };
    const found = async (decision: 'allowed' | 'denied') =>
      (await subject.store.search({ ...query, decision, backwards: false, limit: 9 })).found.length;
    expect([await found('allowed'), await found('denied')]).toEqual([1, 2]);
  });
}
