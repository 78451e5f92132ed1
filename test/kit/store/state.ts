/** The registry, and the number that orders the states of all. */
import { expect, test } from 'vitest';
import { refusal } from '../refusal.ts';
import { authority, draft, event } from './records.ts';
import type { Subject } from './subject.ts';

export function stateTests(subject: Subject): void {
  registryTests(subject);
  sequenceTests(subject);
}

function registryTests(subject: Subject): void {
  test('the registry is the newest version', async () => {
    expect(await subject.store.registry()).toBeUndefined();
    await subject.store.saveRegistry({ version: 1, resources: '[]' }, event);
    await subject.store.saveRegistry({ version: 2, resources: '[1]' }, event);
    expect(await subject.store.registry()).toEqual({ version: 2, resources: '[1]', sequence: 2n });
  });

  test.each([1, 3])('the registry refuses version %i after 1, and its audit entry', async (version) => {
    await subject.store.saveRegistry({ version: 1, resources: '[]' }, event);
    const late = subject.store.saveRegistry({ version, resources: '[2]' }, event);
    const says = new RegExp(`^registry is at version 1, not ${version - 1}$`);
    await expect(late).rejects.toThrow(refusal('store', says));
    expect(await subject.store.registry()).toEqual({ version: 1, resources: '[]', sequence: 1n });
    expect(await subject.store.events(0, 10)).toHaveLength(1);
  });
}

function sequenceTests(subject: Subject): void {
  test('one number grows with each change of bundle, registry and revocations, across a restart', async () => {
    const { store } = subject;
    const numbers = [
      (await store.saveAuthority(authority, event)).sequence,
      (await store.saveRegistry({ version: 1, resources: '[]' }, event)).sequence,
      (await store.revoke(draft, 9)).sequence,
    ];
    await subject.restart();
    numbers.push((await subject.store.lift(1, 'uid 0')).sequence);
    expect(numbers).toEqual([1n, 2n, 3n, 4n]);
    expect((await subject.store.authorities()).map(({ sequence }) => sequence)).toEqual([1n]);
    expect((await subject.store.registry())?.sequence).toBe(2n);
    expect(await subject.store.revocations()).toEqual({ list: [], sequence: 4n });
  });

  test('a refused change takes no number', async () => {
    const { store } = subject;
    await expect(store.saveRegistry({ version: 2, resources: '[]' }, event)).rejects.toThrow(/version/);
    await expect(store.revoke(draft, 0)).rejects.toThrow(/in force/);
    await expect(store.lift(1, 'uid 0')).rejects.toThrow(/no revocation/);
    await expect(store.saveAuthority({ ...authority, state: 'published' }, event)).rejects.toThrow(
      /prepared/,
    );
    expect(await store.saveRegistry({ version: 1, resources: '[]' }, event)).toEqual({ sequence: 1n });
  });

  test('changes become known in the order of their numbers, however long each takes to act on', async () => {
    const { store } = subject;
    const known: bigint[] = [];
    const slowly = async (change: Promise<{ readonly sequence: bigint }>, steps: number) => {
      const { sequence } = await change;
      for (let step = 0; step < steps; step += 1) await Promise.resolve();
      known.push(sequence);
    };
    await Promise.all([
      slowly(store.saveRegistry({ version: 1, resources: '[]' }, event), 100),
      slowly(store.revoke(draft, 9), 10),
      slowly(store.saveAuthority(authority, event), 0),
    ]);
    expect(known).toEqual([1n, 2n, 3n]);
  });
}
