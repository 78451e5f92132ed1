import { expect, test } from 'vitest';
import { refusal } from '../../../../../test/kit/refusal.ts';
import { KeyHolders } from './key-holders.ts';

const NOON = Date.parse('2026-11-20T12:00:00Z');
const later = (seconds: number): number => NOON + seconds * 1000;
const one = { platform: 'tpm', node: 'one' };
const two = { ...one, node: 'two' };
const elsewhere = refusal('csr_key', /^the key belongs to another node$/);
const of = (node: object, changes: object = {}) => ({
  ...one,
  key: 'k',
  notAfter: later(60),
  now: NOON,
  ...node,
  ...changes,
});

test.each([
  ['node one itself', one, {}, false],
  ['another node', two, {}, true],
  ['the same name on another platform', { platform: 'unix' }, {}, true],
  ['another node after the shorter certificate', two, { now: later(45) }, true],
  ['another node after the end', two, { now: later(60) }, false],
  ['another node with another key', two, { key: 'other' }, false],
])(
  'a key that node one holds until noon and a minute is refused to %s: %o %o',
  (_, node, changes, refused) => {
    const holders = new KeyHolders();
    holders.take(of(one));
    holders.take(of(one, { notAfter: later(30) }));
    const take = () => holders.take(of(node, { notAfter: later(90), ...changes }));
    if (refused) expect(take).toThrow(elsewhere);
    else expect(take).not.toThrow();
  },
);

test('a key is forgotten at its end and not before', () => {
  const holders = new KeyHolders();
  holders.take(of(one));
  holders.forgetExpired(later(59));
  expect(holders.size).toBe(1);
  holders.forgetExpired(later(60));
  expect(holders.size).toBe(0);
});

test('taking a key back restores the holder before', () => {
  const holders = new KeyHolders();
  holders.take(of(one))();
  const longer = holders.take(of(two));
  holders.take(of(two, { notAfter: later(90) }))();
  expect(() => holders.take(of(one, { now: later(59) }))).toThrow(elsewhere);
  holders.take(of(one, { now: later(60) }))();
  longer();
  expect(holders.size).toBe(0);
});

test('a later record of another node does not lock the first one out', () => {
  const holders = new KeyHolders();
  holders.load(of(one));
  holders.load(of(two, { notAfter: later(90) }));
  expect(() => holders.take(of(one))).not.toThrow();
});
