/** Authorities and the registry. */
import type { AuthorityRecord } from '@chancery/ca/store/store.ts';
import { expect, test } from 'vitest';
import { after } from '../certificates.ts';
import { refusal } from '../refusal.ts';
import { authority, event } from './records.ts';
import type { Subject } from './subject.ts';

export function stateTests(subject: Subject): void {
  authorityTests(subject);
  registryTests(subject);
}

function authorityTests(subject: Subject): void {
  test('authorities are read as they were written, the first to end first', async () => {
    const sooner = { ...authority, serial: '40cc', kind: 'intermediate', notAfter: after(60) } as const;
    await subject.store.saveAuthority(authority, event);
    await subject.store.saveAuthority(sooner, event);
    expect(await subject.store.authorities()).toEqual([sooner, authority]);
    expect(await subject.store.events(0, 10)).toHaveLength(2);
  });

  test.each<[string, AuthorityRecord, RegExp]>([
    ['a serial that is there', authority, /UNIQUE|duplicate/],
    ['a kind that is none', { ...authority, serial: '01', kind: 'leaf' as 'root' }, /CHECK|check/],
  ])('an authority with %s is refused, and its audit entry', async (_, record, message) => {
    await subject.store.saveAuthority(authority, event);
    await expect(subject.store.saveAuthority(record, event)).rejects.toThrow(refusal('store', message));
    expect(await subject.store.events(0, 10)).toHaveLength(1);
  });
}

function registryTests(subject: Subject): void {
  test('the registry is the newest version', async () => {
    expect(await subject.store.registry()).toBeUndefined();
    await subject.store.saveRegistry({ version: 1, resources: '[]' }, event);
    await subject.store.saveRegistry({ version: 2, resources: '[1]' }, event);
    expect(await subject.store.registry()).toEqual({ version: 2, resources: '[1]' });
  });

  test.each([1, 3])('the registry refuses version %i after 1, and its audit entry', async (version) => {
    await subject.store.saveRegistry({ version: 1, resources: '[]' }, event);
    const late = subject.store.saveRegistry({ version, resources: '[2]' }, event);
    const says = new RegExp(`^registry is at version 1, not ${version - 1}$`);
    await expect(late).rejects.toThrow(refusal('store', says));
    expect(await subject.store.registry()).toEqual({ version: 1, resources: '[]' });
    expect(await subject.store.events(0, 10)).toHaveLength(1);
  });
}
