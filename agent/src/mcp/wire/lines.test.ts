import { utf8 } from '@chancery/shared/bytes.ts';
import { expect, test } from 'vitest';
import { LineReader } from './lines.ts';

function read(chunks: readonly string[], maxBytes = 20): string[] {
  const lines: string[] = [];
  const reader = new LineReader((line) => lines.push(Buffer.from(line).toString()), maxBytes);
  for (const chunk of chunks) reader.push(utf8(chunk));
  return lines;
}

test.each([
  [['a\nb\n'], ['a', 'b']],
  [
    ['a', 'b', '\n', 'c\n'],
    ['ab', 'c'],
  ],
  [['\n\na\n\n'], ['a']],
  [['a\nno end'], ['a']],
  [['é'.repeat(3), '\n'], ['ééé']],
])('%j are the lines %j', (chunks, lines) => {
  expect(read(chunks)).toEqual(lines);
});

test('a line of exactly the limit passes, one byte more does not, in one piece or several', () => {
  expect(read([`${'x'.repeat(20)}\n`, `${'y'.repeat(20)}\n`])).toHaveLength(2);
  for (const chunks of [[`${'x'.repeat(21)}\n`], ['x'.repeat(21)], ['x'.repeat(20), 'x']])
    expect(() => read(chunks)).toThrow(expect.objectContaining({ code: 'mcp_size' }));
});
