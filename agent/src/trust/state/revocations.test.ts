import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import {
  loadRevocations,
  NO_REVOCATIONS,
  readRevocations,
  StoredRevocations,
  storeRevocations,
} from './revocations.ts';

const peer = { id: parseSpiffeId('spiffe://prod.example/web'), serial: '40ab' };
const byNode = {
  number: 1n,
  kind: 'node',
  value: 'tpm/n1',
  serials: ['40aa', '40ab'],
  reason: 'keyCompromise',
  until: 0n,
};
const byId = {
  number: 2n,
  kind: 'id',
  value: 'spiffe://prod.example/api',
  serials: [],
  reason: 'superseded',
  until: BigInt(after(60).getTime() / 1000),
};

test('what the CA sent is read, and is the same after it was stored', () => {
  const { set, unreadable } = readRevocations({ sequence: 7n, list: [byNode, byId] });
  expect(unreadable).toBeUndefined();
  expect(set.list).toEqual([
    {
      number: 1,
      target: { kind: 'node', value: 'tpm/n1' },
      serials: ['40aa', '40ab'],
      reason: 'keyCompromise',
      until: undefined,
    },
    {
      number: 2,
      target: { kind: 'id', value: 'spiffe://prod.example/api' },
      serials: [],
      reason: 'superseded',
      until: after(60),
    },
  ]);
  expect(set.revoked(peer, NOW)).toMatchObject({ number: 1 });
  const stored = StoredRevocations.parse(JSON.parse(JSON.stringify(storeRevocations(set))));
  const { list, sequence } = loadRevocations(stored);
  expect({ list, sequence }).toEqual({ list: set.list, sequence: 7n });
});

test.each([
  ['of a kind that is not known', { kind: 'country' }, /^revocation 2 cannot be read .*by country$/],
  ['for a reason that is not known', { reason: 'because' }, /"because" is not a reason/],
  ['of what is no SPIFFE ID', { value: 'web' }, /SPIFFE ID does not start/],
  ['with an invalid serial', { serials: ['x'] }, /"x" is not a serial/],
  ['of a number beyond counting', { number: 2n ** 53n }, /its number is too large/],
])('one %s is told, and keeps no other from counting', (_, changes, message) => {
  const { set, unreadable } = readRevocations({ sequence: 7n, list: [{ ...byId, ...changes }, byNode] });
  expect(unreadable).toEqual(refusal('revocation', message));
  expect(set.list).toHaveLength(1);
  expect(set.revoked(peer, NOW)).toMatchObject({ number: 1 });
});

test.each([
  ['after the year 9999', 253_402_300_800n],
  ['beyond all dates', 2n ** 62n],
  ['before all dates', -(2n ** 62n)],
])('an end %s is none', (_, until) => {
  const { set } = readRevocations({ sequence: 7n, list: [{ ...byNode, until }] });
  expect(set.revoked(peer, NOW)).toMatchObject({ number: 1, until: undefined });
});

test('the last end that there can be is the same after it was stored', () => {
  const { set } = readRevocations({ sequence: 7n, list: [{ ...byNode, until: 253_402_300_799n }] });
  const stored = StoredRevocations.parse(JSON.parse(JSON.stringify(storeRevocations(set))));
  expect(loadRevocations(stored).list).toEqual(set.list);
});

test('one of a later release that was stored keeps no other from counting', () => {
  const { set } = readRevocations({ sequence: 7n, list: [byId, byNode] });
  const { sequence, list } = storeRevocations(set);
  const later = list.map((each) => (each.number === 2 ? { ...each, kind: 'country' } : each));
  const loaded = loadRevocations({ sequence, list: later });
  expect(loaded.list).toHaveLength(1);
  expect(loaded.revoked(peer, NOW)).toMatchObject({ number: 1 });
});

test('none revokes nobody', () => {
  expect(NO_REVOCATIONS.revoked(peer, NOW)).toBeUndefined();
});
