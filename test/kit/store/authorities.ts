/** Authorities, and the moves between their states. */
import type { AuthorityMove, AuthorityRecord } from '@chancery/ca/store/store.ts';
import { expect, test } from 'vitest';
import { after, NOW } from '../certificates.ts';
import { refusal } from '../refusal.ts';
import { authority, event } from './records.ts';
import type { Subject } from './subject.ts';

const next = { ...authority, serial: '40dd', state: 'prepared', notAfter: after(7200) } as const;
const intermediate = { ...next, serial: '40cc', kind: 'intermediate', notAfter: after(60) } as const;

const published = { serial: next.serial, from: 'prepared', to: 'published' } as const;
const signing = { serial: next.serial, from: 'published', to: 'active' } as const;
const retired = { serial: authority.serial, from: 'active', to: 'retiring' } as const;
const removed = { serial: authority.serial, from: 'retiring', to: 'removed' } as const;

export function authorityTests(subject: Subject): void {
  recordTests(subject);
  moveTests(subject);
  timeTests(subject);
  refusedMoveTests(subject);
}

const stand = async ({ store }: Subject) =>
  (await store.authorities()).map(({ serial, state, sequence }) => ({ serial, state, sequence }));

async function saveAll({ store }: Subject): Promise<void> {
  for (const record of [authority, next, intermediate]) await store.saveAuthority(record, event);
}

function recordTests(subject: Subject): void {
  test('authorities are read as they were written, the first to end first, across a restart', async () => {
    const large = { ...next, algorithm: 'ecdsa-p384' } as const;
    expect(await subject.store.saveAuthority(authority, event)).toEqual({ sequence: 1n });
    expect(await subject.store.saveAuthority(large, event)).toEqual({ sequence: 0n });
    await subject.store.saveAuthority(intermediate, event);
    await subject.restart();
    expect(await subject.store.authorities()).toEqual([
      { ...intermediate, sequence: 0n, movedAt: NOW, ordinal: 3 },
      { ...authority, sequence: 1n, movedAt: NOW, ordinal: 1 },
      { ...large, sequence: 0n, movedAt: NOW, ordinal: 2 },
    ]);
    expect(await subject.store.events(0, 10)).toHaveLength(3);
  });

  test('authorities that end at the same time are read by their serials', async () => {
    await subject.store.saveAuthority({ ...authority, notAfter: next.notAfter, serial: '40ff' }, event);
    await subject.store.saveAuthority(next, event);
    await subject.store.saveAuthority({ ...next, serial: '40ee' }, event);
    expect((await subject.store.authorities()).map(({ serial }) => serial)).toEqual(['40dd', '40ee', '40ff']);
  });

  test.each<[string, AuthorityRecord, RegExp]>([
    ['a serial that is there', { ...next, serial: authority.serial }, /UNIQUE|duplicate/],
    ['a kind that is unknown', { ...next, kind: 'leaf' as 'root' }, /CHECK|check/],
    ['a state that is unknown', { ...next, state: 'lost' as 'prepared' }, /it must be prepared$/],
    ['a second first root', { ...authority, serial: '40dd' }, /^this CA has a root already$/],
    ['a root that was not prepared', { ...next, state: 'published' }, /^a new root is published; it must/],
    ['an intermediate that was not prepared', { ...intermediate, state: 'active' }, /^a new intermediate is/],
  ])('an authority with %s is refused, and its audit entry', async (_, record, message) => {
    await subject.store.saveAuthority(authority, event);
    await expect(subject.store.saveAuthority(record, event)).rejects.toThrow(refusal('store', message));
    expect(await stand(subject)).toEqual([{ serial: authority.serial, state: 'active', sequence: 1n }]);
    expect(await subject.store.events(0, 10)).toHaveLength(1);
  });
}

function moveTests(subject: Subject): void {
  test('each change of the bundle takes a number, and no other move does, across a restart', async () => {
    await saveAll(subject);
    const steps: readonly (readonly [readonly AuthorityMove[], bigint])[] = [
      [[{ serial: intermediate.serial, from: 'prepared', to: 'active' }], 1n],
      [[published], 2n],
      [[retired, signing], 3n],
      [[removed], 4n],
    ];
    for (const [moves, sequence] of steps) {
      expect(await subject.store.moveAuthorities(moves, event)).toEqual({ sequence });
      await subject.restart();
    }
    expect(await stand(subject)).toEqual([
      { serial: intermediate.serial, state: 'active', sequence: 0n },
      { serial: authority.serial, state: 'removed', sequence: 4n },
      { serial: next.serial, state: 'active', sequence: 2n },
    ]);
    expect(await subject.store.events(0, 10)).toHaveLength(7);
  });
}

function timeTests(subject: Subject): void {
  test('a move has its time, and what did not move keeps the time that it had', async () => {
    await saveAll(subject);
    subject.clock.jump(after(9));
    await subject.store.moveAuthorities([published], event);
    const times = (await subject.store.authorities()).map(({ serial, movedAt }) => [serial, movedAt]);
    expect(times).toEqual([
      [intermediate.serial, NOW],
      [authority.serial, NOW],
      [next.serial, after(9)],
    ]);
  });
}

function refusedMoveTests(subject: Subject): void {
  test.each<[string, readonly AuthorityMove[]]>([
    ['an authority that is in another state', [signing]],
    ['an authority that is unknown', [{ ...published, serial: '40ab' }]],
    ['one that moved and one that did not', [published, removed]],
    ['a second active root', [published, signing]],
  ])('of %s nothing is moved, and that is no event', async (_, moves) => {
    await saveAll(subject);
    const before = await stand(subject);
    expect(await subject.store.moveAuthorities(moves, event)).toBeUndefined();
    expect(await stand(subject)).toEqual(before);
    expect(await subject.store.events(0, 10)).toHaveLength(3);
  });

  test.each<[string, readonly AuthorityMove[], RegExp]>([
    ['a move that does not exist', [{ ...published, to: 'active' }], /^root 40dd cannot go from prepared/],
    ['a CA without an active root', [retired], /^no root would be active after this$/],
  ])('%s is refused, and nothing is moved', async (_, moves, message) => {
    await saveAll(subject);
    const before = await stand(subject);
    await expect(subject.store.moveAuthorities(moves, event)).rejects.toThrow(refusal('store', message));
    expect(await stand(subject)).toEqual(before);
    expect(await subject.store.events(0, 10)).toHaveLength(3);
  });
}
