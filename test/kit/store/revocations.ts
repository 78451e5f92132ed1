/** Revocations, each with its audit entry. */
import { expect, test } from 'vitest';
import { after, NOW } from '../certificates.ts';
import { refusal } from '../refusal.ts';
import { draft, event, issuance } from './records.ts';
import type { Subject } from './subject.ts';

export function revocationTests(subject: Subject): void {
  test('a revocation is read as it was made, with its audit entry, across a restart', async () => {
    const { revocation: made } = await subject.store.revoke(draft, 9);
    expect(made).toEqual({ ...draft, number: 1, serials: [], at: NOW });
    await subject.restart();
    expect((await subject.store.revocations()).list).toEqual([made]);
    const { target, reason, by } = draft;
    const told = { type: 'revocation.made', number: 1, target, reason, until: after(60).toISOString(), by };
    expect((await subject.store.events(0, 9)).map((each) => each.event)).toEqual([told]);
  });

  test('a lifted revocation is over, with its audit entry, and its number is not given again', async () => {
    await subject.store.revoke(draft, 9);
    const { revocation: lifted } = await subject.store.lift(1, 'uid 7');
    expect(lifted).toMatchObject({ number: 1, by: 'uid 0' });
    expect((await subject.store.revocations()).list).toEqual([]);
    const { target } = draft;
    const told = { type: 'revocation.lifted', number: 1, target, by: 'uid 7' };
    expect((await subject.store.events(1, 9)).map((each) => each.event)).toEqual([told]);
    expect((await subject.store.revoke(draft, 9)).revocation.number).toBe(2);
  });

  test('what is not there, has ended or was lifted cannot be lifted, and that is no event', async () => {
    await subject.store.revoke({ ...draft, until: NOW }, 9);
    await subject.store.revoke(draft, 9);
    await subject.store.lift(2, 'uid 0');
    for (const number of [1, 2, 3]) {
      const says = new RegExp(`^there is no revocation ${number} in force$`);
      await expect(subject.store.lift(number, 'uid 0')).rejects.toThrow(refusal('revocation', says));
    }
    expect(await subject.store.events(0, 9)).toHaveLength(3);
  });

  test('no more than the bound are in force; those that ended or were lifted do not count', async () => {
    const full = refusal('revocation', /^2 revocations are in force: lift some, or use a pattern$/);
    await subject.store.revoke({ ...draft, until: NOW }, 2);
    await subject.store.revoke(draft, 2);
    await subject.store.revoke({ ...draft, until: undefined }, 2);
    await expect(subject.store.revoke(draft, 2)).rejects.toThrow(full);
    await subject.store.lift(3, 'uid 0');
    await subject.store.revoke(draft, 2);
    expect(await subject.store.events(0, 9)).toHaveLength(5);
  });

  test('a revocation has the certificates whose recording was asked for before', async () => {
    const target = { kind: 'node', value: 'tpm/a' } as const;
    const recorded = subject.store.record(issuance, event);
    const made = subject.store.revoke({ ...draft, target }, 9);
    await recorded;
    expect((await made).revocation.serials).toEqual(['40aa']);
  });
}
