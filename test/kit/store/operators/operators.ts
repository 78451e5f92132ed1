/** The work of operators: reviews, and what waits for a second person. */
import type { RequestDraft } from '@chancery/ca/store/operator-store.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import { after, NOW } from '../../certificates.ts';
import { refusal } from '../../refusal.ts';
import { event, issuance } from '../records.ts';
import type { Subject } from '../subject.ts';

const ada = parseSpiffeId('spiffe://prod.example/chancery/operator/ada');
const bob = parseSpiffeId('spiffe://prod.example/chancery/operator/bob');
const asked: RequestDraft = {
  verb: 'rotate',
  digest: 'd1',
  about: 'root',
  person: ada,
  by: 'ada',
  until: after(3600),
};
const second = { person: bob, peer: { id: bob, serial: 'ab' }, by: 'bob' };

export function operatorTests(subject: Subject): void {
  reviewTests(subject);
  requestTests(subject);
}

function reviewTests(subject: Subject): void {
  test('the last use of an Identity is known after its certificates were pruned, across a restart', async () => {
    const { store, clock } = subject;
    await store.record({ ...issuance, serial: '01', identity: 'a' }, event);
    clock.advanceTo(after(5));
    await store.record({ ...issuance, serial: '02', identity: 'a' }, event);
    await store.record({ ...issuance, serial: '03', identity: 'b', notAfter: after(9000) }, event);
    const uses = async () => {
      const { list, below } = await subject.store.identityUses(undefined);
      expect(below).toBeUndefined();
      return list.toSorted((x, y) => (x.name < y.name ? -1 : 1));
    };
    const both = [
      { name: 'a', at: after(5) },
      { name: 'b', at: after(5) },
    ];
    expect(await uses()).toEqual(both);
    expect(await store.prune(after(100))).toBe(2);
    expect(await uses()).toEqual(both);
    await subject.restart();
    expect(await uses()).toEqual(both);
    // Beneath newer certificates, an older use does not count.
    await subject.store.record({ ...issuance, serial: '04', identity: 'a', notAfter: NOW }, event);
    await subject.store.prune(after(100));
    expect((await uses())[0]).toEqual({ name: 'a', at: after(5) });
  });

  test('a sign-off is kept with its entry, the newest of each resource', async () => {
    const made = { kind: 'Access', name: 'a', digest: 'd', reviewBy: undefined, reason: 'fine', by: 'ada' };
    await subject.store.signOff(made);
    subject.clock.advanceTo(after(1));
    const again = { ...made, digest: 'e', reviewBy: '2027-01-01T00:00:00Z' };
    await subject.store.signOff(again);
    await subject.restart();
    expect(await subject.store.signOffs()).toEqual([{ ...again, at: after(1) }]);
    const events = (await subject.store.events(0, 9)).map((each) => each.event);
    expect(events).toMatchObject([
      { type: 'review.signedOff', digest: 'd' },
      { type: 'review.signedOff', digest: 'e', reviewBy: '2027-01-01T00:00:00Z' },
    ]);
  });
}

const MAX = { all: 9, each: 9 };

function requestTests(subject: Subject): void {
  test('I148 a countersigned use is taken once, of sixteen at the same moment and across a restart', async () => {
    const made = await subject.store.request(asked, MAX);
    expect(await subject.store.useRequest('d1', ada)).toBeUndefined();
    await subject.store.countersign(made.number, second);
    await subject.restart();
    const { store } = subject;
    expect((await store.requests())[0]?.countersigner).toEqual(second.peer);
    const taken = await Promise.all(Array.from({ length: 16 }, () => store.useRequest('d1', ada)));
    expect(taken.filter((each) => each !== undefined)).toMatchObject([{ number: 1, countersignedBy: 'bob' }]);
    expect(await store.requests()).toEqual([]);
    const types = (await store.events(0, 9)).map((each) => each.event.type);
    expect(types).toEqual(['countersign.requested', 'countersign.signed', 'countersign.used']);
  });

  test('I148 it is of one person, one digest and one hour', async () => {
    const { store, clock } = subject;
    await store.countersign((await store.request(asked, MAX)).number, second);
    expect(await store.useRequest('d1', bob)).toBeUndefined();
    expect(await store.useRequest('d2', ada)).toBeUndefined();
    clock.advanceTo(after(3600));
    expect(await store.useRequest('d1', ada)).toBeUndefined();
    expect(await store.requests()).toEqual([]);
  });

  test.each<[string, string | undefined, RegExp]>([
    ['their own', ada, /^request 1 is your own: another person is needed$/],
    ['one that is not there', undefined, /^there is no request 2 that waits$/],
  ])('I148 nobody countersigns %s', async (_, person, says) => {
    await subject.store.request(asked, MAX);
    const by = { person: person === undefined ? undefined : ada, by: 'ada' };
    const number = person === undefined ? 2 : 1;
    await expect(subject.store.countersign(number, by)).rejects.toThrow(refusal('countersign', says));
    expect((await subject.store.requests())[0]?.countersignedBy).toBeUndefined();
  });

  test('a request is made once, countersigned once, and at most so many wait', async () => {
    const { store, clock } = subject;
    const one = { all: 1, each: 1 };
    const made = await store.request(asked, one);
    expect(await store.request(asked, one)).toEqual(made);
    await expect(store.request({ ...asked, digest: 'd2', person: bob }, one)).rejects.toThrow(
      refusal('countersign', /^1 requests wait for a second person, and at most 1 may$/),
    );
    await store.countersign(made.number, second);
    await expect(store.countersign(made.number, { person: undefined, by: 'root' })).rejects.toThrow(
      refusal('countersign', /^bob has countersigned it already$/),
    );
    clock.advanceTo(after(3600));
    await expect(store.countersign(made.number, second)).rejects.toThrow(
      refusal('countersign', /no request/),
    );
    expect((await store.request({ ...asked, until: after(9000) }, one)).number).toBe(2);
  });
}
