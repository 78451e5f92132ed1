import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { describe, expect, test } from 'vitest';
import { readJsonText, withEntry } from './json-text.ts';

const value = { command: 'node', args: ['connect'] };
const put = (text: string, hasComments = true) =>
  withEntry(readJsonText(text, hasComments), { servers: 'servers', name: 'new', value });

/** The old text with `insertion` at the mark. */
const row = (marked: string, insertion: string) =>
  [marked.replace('@', ''), marked.replace('@', insertion)] as const;

describe('an entry', () => {
  const lines = (margin: string, eol = '\n', indent = '  '): string =>
    [
      '"new": {',
      `${indent}"command": "node",`,
      `${indent}"args": [`,
      `${indent}${indent}"connect"`,
      `${indent}]`,
      '}',
    ].join(`${eol}${margin}`);
  const spaces = `\n    ${lines('    ')}`;
  const tabs = `\n\t\t${lines('\t\t', '\n', '\t')}`;

  test.each([
    ['behind the last one', row('{\n  "servers": {\n    "a": 1@\n  },\n  "z": [ 1,2 ]\n}\n', `,${spaces}`)],
    ['with tabs', row('{\n\t"servers": {\n\t\t"a": {}@\n\t}\n}', `,${tabs}`)],
    [
      'with the line ends of Windows',
      row('{\r\n  "servers": {\r\n    "a": 1@\r\n  }\r\n}\r\n', `,\r\n    ${lines('    ', '\r\n')}`),
    ],
    ['behind a comma', row('{\n  "servers": {\n    "a": 1,@\n  },\n}\n', `${spaces},`)],
    [
      'behind a comment',
      row('{\n  "servers": {\n    "a": 1, // one\n@\n  }\n}', '').map((text, at) =>
        text.replace('// one\n\n', at === 0 ? '// one\n' : `// one${spaces},\n`),
      ) as [string, string],
    ],
    [
      'beside a comment without a comma',
      [
        '{\n  "servers": {\n    "a": 1 /* one */ // last\n  }\n}',
        `{\n  "servers": {\n    "a": 1, /* one */ // last${spaces}\n  }\n}`,
      ] as const,
    ],
    ['on one line', row('{"servers": {"a": 1@}, "z":  2}', ', "new": {"command":"node","args":["connect"]}')],
    [
      'on one line before a comment',
      [
        '{"servers": {"a": 1 // one\n}}',
        '{"servers": {"a": 1, "new": {"command":"node","args":["connect"]} // one\n}}',
      ] as const,
    ],
    ['into an empty object', ['{\n  "servers": {}\n}', `{\n  "servers": {${spaces}\n  }\n}`] as const],
    [
      'into an object of comments',
      [
        '{\n  "servers": {\n    // none yet\n  }\n}',
        `{\n  "servers": {\n    // none yet${spaces}\n  }\n}`,
      ] as const,
    ],
    [
      'into a file without servers',
      ['{\n  "inputs": []\n}\n', `{\n  "inputs": [],\n  "servers": {${spaces}\n  }\n}\n`] as const,
    ],
    ['into an empty file', ['', `{\n  "servers": {${spaces}\n  }\n}\n`] as const],
    [
      'in place of another',
      [
        '{\n  "servers": {\n    "new": {"url": "http://a", "x": [\n1]}, // old\n    "a": 1\n  }\n}',
        `{\n  "servers": {${spaces}, // old\n    "a": 1\n  }\n}`,
      ] as const,
    ],
  ])('%s', (_, [before, after]) => {
    expect(put(before).text).toBe(after);
    expect(put(after)).toEqual({ text: after, did: 'nothing' });
  });

  test('says what was done', () => {
    expect(put('{"servers": {"new": 1}}').did).toBe('replace');
    expect(put('{"servers": {"old": 1}}').did).toBe('add');
  });
});

describe('refuses', () => {
  test.each([
    ['a comment where the client reads none', '{\n// a\n}', false, /^line 2: a comment, which this client/],
    ['a comma at the end there', '{\n"a": 1,\n}', false, /^line 3: the name of a field/],
    ['half a file', '{\n"servers": {', true, /^line 2: a closing brace is expected/],
    ['two values', '{} {}', true, /^line 1: nothing more is expected/],
    ['no object', '[]', true, /^an object is expected/],
    ['servers that are a list', '{"servers": []}', true, /^servers is not an object/],
    ['servers that are there twice', '{"servers": {}, "servers": {}}', true, /^servers is there twice/],
    ['an entry that is there twice', '{"servers": {"new": 1, "new": 2}}', true, /^new is there twice/],
    ['depth', `{"a": ${'['.repeat(100_000)}`, true, /^more than 100 objects and lists/],
  ])('%s', (_, text, hasComments, says) => {
    const refused = (): unknown => put(text, hasComments);
    expect(refused).toThrow(says);
    expect(refused).toThrow(expect.toSatisfy((error) => isRefusal(error, 'file')));
  });
});
