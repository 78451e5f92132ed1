/** Audit events, in the order of their writing. */
import { expect, test } from 'vitest';
import { after, NOW } from '../certificates.ts';
import { refusal } from '../refusal.ts';
import { event } from './records.ts';
import type { Subject } from './subject.ts';

export function auditTests(subject: Subject): void {
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
