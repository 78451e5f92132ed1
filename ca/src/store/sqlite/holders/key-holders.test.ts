import { describe, expect, test } from 'vitest';
import { KeyHolders } from './key-holders.ts';

const NOW = new Date('2026-11-20T12:00:00Z');
const later = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1000);
const KEY = new Uint8Array(32).fill(7);
const one = { platform: 'tpm', node: 'one' };

describe('a key that node one holds until noon and a minute', () => {
  const holders = new KeyHolders();
  holders.add(KEY, one, { notAfter: later(60), now: NOW });
  holders.add(KEY, one, { notAfter: later(30), now: NOW });

  test.each([
    ['node one itself', one, NOW, KEY, false],
    ['another node', { ...one, node: 'two' }, NOW, KEY, true],
    ['the same name on another platform', { ...one, platform: 'unix' }, NOW, KEY, true],
    ['another node after the shorter certificate', { ...one, node: 'two' }, later(45), KEY, true],
    ['another node after the end', { ...one, node: 'two' }, later(60), KEY, false],
    ['another key', { ...one, node: 'two' }, NOW, new Uint8Array(32).fill(8), false],
  ] as const)('is elsewhere for %s: %s', (_, holder, now, key, elsewhere) => {
    expect(holders.isElsewhere(key, holder, now)).toBe(elsewhere);
  });

  test('is forgotten at its end and not before', () => {
    holders.forgetExpired(later(59));
    expect(holders.size).toBe(1);
    holders.forgetExpired(later(60));
    expect(holders.size).toBe(0);
  });
});

describe('a key that is being recorded', () => {
  const two = { ...one, node: 'two' };
  const until = { notAfter: later(60), now: NOW };

  test('is refused to another node, until it is known not to be recorded', () => {
    const holders = new KeyHolders();
    const first = holders.claim(KEY, one, until);
    const second = holders.claim(KEY, two, until);
    first.take();
    first.take();
    expect(() => second.take()).toThrow(/belongs to another node/);
    first.release();
    second.take();
    second.keep();
    expect(holders.isElsewhere(KEY, one, NOW)).toBe(true);
    expect(holders.isElsewhere(KEY, two, NOW)).toBe(false);
  });

  test('stays taken while one of two certificates of its node is on its way', () => {
    const holders = new KeyHolders();
    const claims = [holders.claim(KEY, one, until), holders.claim(KEY, one, until)];
    for (const claim of claims) claim.take();
    claims[0]?.release();
    expect(holders.isElsewhere(KEY, two, NOW)).toBe(true);
    claims[1]?.release();
    expect(holders.isElsewhere(KEY, two, NOW)).toBe(false);
  });
});

test('a later record of another node does not lock the first one out', () => {
  const holders = new KeyHolders();
  holders.add(KEY, one, { notAfter: later(60), now: NOW });
  holders.add(KEY, { ...one, node: 'two' }, { notAfter: later(90), now: NOW });
  expect(holders.isElsewhere(KEY, one, NOW)).toBe(false);
});
