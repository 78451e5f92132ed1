import { expect, test, vi } from 'vitest';
import { hex } from './bytes.ts';
import { pooledRandom } from './random.ts';

test('no byte is handed out twice, and none stays', () => {
  let next = 0;
  let pool = new Uint8Array();
  const random = pooledRandom((filled) => {
    next += 1;
    pool = filled as typeof pool;
    filled.fill(next);
  });
  const drawn = Array.from({ length: 256 }, () => hex(random(16)));
  expect(new Set(drawn)).toEqual(new Set(['01'.repeat(16)]));
  expect(next).toBe(1);
  expect(pool.every((byte) => byte === 0)).toBe(true);
  expect(hex(random(16))).toBe('02'.repeat(16));
});

test('what does not fit into the rest is drawn anew, and what is larger than a draw alone', () => {
  const fill = vi.fn((filled: Uint8Array) => void filled.fill(fill.mock.calls.length));
  const random = pooledRandom(fill);
  expect(random(4_000)).toEqual(new Uint8Array(4_000).fill(1));
  expect(random(100)).toEqual(new Uint8Array(100).fill(2));
  expect(random(5_000)).toEqual(new Uint8Array(5_000).fill(3));
  expect(random(0)).toHaveLength(0);
});

test('the system’s generator gives different bytes', () => {
  const random = pooledRandom();
  expect(hex(random(16))).not.toBe(hex(random(16)));
});
