import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { answeredIn } from '@chancery/shared/mcp/outline.ts';
import { expect, test } from 'vitest';
import { LineReader } from './lines.ts';

function read(chunks: readonly string[], maxBytes = 20): string[] {
  const lines: string[] = [];
  const reader = new LineReader(
    (line) => lines.push(Buffer.from(line).toString()),
    maxBytes,
    (outlines) => lines.push(`too long: ${answeredIn(outlines)}`),
  );
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
  [['\r\n \t\na\r\n'], ['a\r']],
  [['é'.repeat(3), '\n'], ['ééé']],
])('%j are the lines %j', (chunks, lines) => {
  expect(read(chunks)).toEqual(lines);
});

test('a line of exactly the limit passes; one byte more is skipped, in one piece or several', () => {
  expect(read([`${'x'.repeat(20)}\n`, `${'y'.repeat(20)}\n`])).toHaveLength(2);
  for (const chunks of [[`${'x'.repeat(21)}\na\n`], ['x'.repeat(20), 'x\na', '\n']])
    expect(read(chunks)).toEqual(['too long: ', 'a']);
});

test('a line that is too long tells whose answer it is, wherever its id stands', () => {
  const long = '"result":{"text":"xxxxxxxxxxxxxxxxxxxxxxxxx"},"jsonrpc":"2.0"';
  expect(read([`{"id":1,${long}}\n{${long},"id":2}\nb\n`])).toEqual(['too long: 1', 'too long: 2', 'b']);
  expect(read([...`{${long},"id":3}\n`])).toEqual(['too long: 3']);
});
