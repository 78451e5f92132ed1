/** Audit events, in the order of their writing; the entries of the Merkle log and its checkpoints. */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { expect, test } from 'vitest';
import { after, NOW } from '../certificates.ts';
import { refusal } from '../refusal.ts';
import { authority, draft, event } from './records.ts';
import type { Subject } from './subject.ts';

export function auditTests(subject: Subject): void {
  logTests(subject);
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
    expect(await store.leaves(second.through, 2)).toEqual({ entries: [], through: second.through });
    await subject.restart();
    expect(await subject.store.leaves(0, 2)).toEqual(first);
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
  });
}
