/** The order of the entries of the Merkle log, and its checkpoints. */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { expect, test } from 'vitest';
import { NOW } from '../certificates.ts';
import { refusal } from '../refusal.ts';
import { authority, draft, event } from './records.ts';
import type { Subject } from './subject.ts';

const acting = (about: string): AuditEvent => ({
  type: 'operator.acting',
  verb: 'apply',
  about,
  by: 'uid 0',
});
const checkpoint = (size: number) => ({ size, root: 'ab', through: size * 2, note: `note ${size}` });

export function logTests(subject: Subject): void {
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
