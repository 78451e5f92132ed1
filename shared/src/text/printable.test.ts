import { expect, test } from 'vitest';
import { printable, printableLines } from './printable.ts';

test.each([
  ['NUL', '\0', '\\u0000'],
  ['escape', '\x1b[31m', '\\u001b[31m'],
  ['tab', '\t', '\\u0009'],
  ['carriage return', '\r', '\\u000d'],
  ['delete', '\x7f', '\\u007f'],
  ['C1: control sequence introducer', '\x9b31m', '\\u009b31m'],
  ['C1: next line', '\x85', '\\u0085'],
  ['line separator', '\u2028', '\\u2028'],
  ['paragraph separator', '\u2029', '\\u2029'],
  ['right-to-left override', '\u202e', '\\u202e'],
  ['right-to-left isolate', '\u2067', '\\u2067'],
  ['right-to-left mark', '\u200f', '\\u200f'],
  ['Arabic letter mark', '\u061c', '\\u061c'],
  ['zero width space', '\u200b', '\\u200b'],
  ['zero width joiner', '\u200d', '\\u200d'],
  ['word joiner', '\u2060', '\\u2060'],
  ['byte order mark', '\ufeff', '\\ufeff'],
  ['soft hyphen', '\u00ad', '\\u00ad'],
  ['combining grapheme joiner', '\u034f', '\\u034f'],
  ['Hangul filler', '\u3164', '\\u3164'],
  ['variation selector', '\ufe0f', '\\ufe0f'],
  ['supplementary variation selector', '\u{e0100}', '\\udb40\\udd00'],
  ['tag', '\u{e0041}', '\\udb40\\udc41'],
  ['lone surrogate', '\ud800', '\\ud800'],
])('%s is escaped', (_, text, escaped) => {
  expect(printable(`a${text}b`)).toBe(`a${escaped}b`);
  expect(printableLines(`a${text}b`)).toBe(`a${escaped}b`);
});

test('a line feed is escaped, or kept where lines are ours', () => {
  expect(printable('a\nb')).toBe('a\\u000ab');
  expect(printableLines('a\nb')).toBe('a\nb');
});

test.each(['get-env', 'née', '日本', 'مرحبا', 'e\u0301', '🔑', '“x” – 3 < 4'])('%s stays', (text) => {
  expect(printable(text)).toBe(text);
});

test('JSON stays JSON of the same value', () => {
  const value = { name: 'a\u202e\x9b\u{e0041}\u200b\x7f' };
  expect(JSON.parse(printable(JSON.stringify(value)))).toEqual(value);
});
