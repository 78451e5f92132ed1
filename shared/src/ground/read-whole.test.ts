import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { readWhole } from './read-whole.ts';

const tooLong = () => new Error('too long');
const pieces = () => Readable.from([Buffer.from('ab'), Buffer.from('cd'), Buffer.from('ef')]);

test('a stream of as many bytes as may be is read to its end', async () => {
  expect(String(await readWhole(pieces(), 6, tooLong))).toBe('abcdef');
});

test('a longer one is read no further', async () => {
  const stream = pieces();
  await expect(readWhole(stream, 3, tooLong)).rejects.toThrow('too long');
  expect(stream.destroyed).toBe(true);
});
