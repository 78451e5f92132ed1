import { hash } from 'node:crypto';
import { expect, test } from 'vitest';
import { NOW } from '../../../test/kit/certificates.ts';
import { entryText, isLeaf } from './leaves.ts';

test('what changes or refuses something is an entry, what agents say of themselves is not', () => {
  const types = [
    'svid.issuing',
    'svid.failed',
    'request.refused',
    'revocation.made',
    'agent.acknowledged',
  ] as const;
  expect(types.map((type) => isLeaf({ type }))).toEqual([true, true, true, true, false]);
});

test('an entry is the event with its time in front', () => {
  const event = { type: 'revocation.lifted', number: 1, by: 'uid 0' };
  const entry = JSON.parse(entryText(NOW, JSON.stringify(event)));
  expect(entry).toEqual({ at: NOW.toISOString(), ...event });
});

test.each(['x', '\u20ac'])('an event of %s that is too long for an entry is one by its digest', (unit) => {
  const event = (length: number) =>
    JSON.stringify({ type: 'registry.applied', changes: [unit.repeat(length)] });
  const room = 0xffff - Buffer.byteLength(entryText(NOW, event(0)));
  const most = Math.floor(room / Buffer.byteLength(unit));
  expect(entryText(NOW, event(most))).toContain(unit);
  const entry = entryText(NOW, event(most + 1));
  expect(JSON.parse(entry)).toEqual({
    at: NOW.toISOString(),
    type: 'registry.applied',
    bytes: Buffer.byteLength(event(most + 1)),
    sha256: hash('sha256', event(most + 1), 'hex'),
  });
});
