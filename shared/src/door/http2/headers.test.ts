import { expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { headerBytes, MAX_HEADER_BYTES } from './headers.ts';

const FIELD = ['x-a', 'y'.repeat(MAX_HEADER_BYTES - 32 - 3)];

test('the size of a header list counts names, values and 32 bytes for each field', () => {
  expect(headerBytes([])).toBe(0);
  expect(headerBytes([':path', '/a', 'te', 'trailers'])).toBe(7 + 32 + 10 + 32);
  expect(headerBytes(FIELD)).toBe(MAX_HEADER_BYTES);
});

test.each([
  ['one byte more', [...FIELD.slice(0, 1), `${FIELD[1]}y`]],
  ['one field that is repeated', Array.from({ length: 6 }, () => ['x-a', 'y'.repeat(2_900)]).flat()],
  ['empty fields', Array.from({ length: 2 * (MAX_HEADER_BYTES / 32) + 2 }, () => '')],
])('%s is refused', (_, raw) => {
  expect(() => headerBytes(raw)).toThrow(
    refusal('message_size', /^request headers of \d+ bytes; 8192 are allowed$/),
  );
});
