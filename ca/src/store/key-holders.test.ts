import { describe, expect, test } from 'vitest';
import { KeyHolders } from './key-holders.ts';

const NOW = new Date('2026-11-20T12:00:00Z');
const later = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1000);
const KEY = new Uint8Array(32).fill(7);
const one = { platform: 'tpm', node: 'one' };

describe('a key that node one holds until noon and a minute', () => {
  const holders = new KeyHolders();
  holders.add(KEY, one, later(60));
  holders.add(KEY, one, later(30));

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
