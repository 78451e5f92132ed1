import { describe, expect, test } from 'vitest';
import { utf8 } from './bytes.ts';
import { isJsonObject, parseJson, unspelled } from './json.ts';

const limits = { code: 'mcp_parse', maxBytes: 2_000, maxDepth: 4 } as const;
const read = (text: string | Uint8Array) => parseJson(typeof text === 'string' ? utf8(text) : text, limits);

const genuine = '{"a":[1,{"b":"x"}],"c":null}';

const refused: [name: string, text: string | Uint8Array, message: RegExp][] = [
  ['more bytes than allowed', `"${'x'.repeat(2_000)}"`, /2002 bytes of JSON, at most 2000/],
  ['invalid UTF-8', Uint8Array.of(0x22, 0xc3, 0x28, 0x22), /not UTF-8/],
  ['an overlong slash', Uint8Array.of(0x22, 0xc0, 0xaf, 0x22), /not UTF-8/],
  ['a surrogate as UTF-8', Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22), /not UTF-8/],
  ['a BOM', `\ufeff${genuine}`, /a value is expected, at offset 0/],
  ['nothing', '', /a value is expected/],
  ['two values', `${genuine}{}`, /something follows/],
  ['a NUL after the value', `${genuine}\0`, /something follows/],
  ['a key twice', '{"a":1,"a":1}', /same key twice/],
  ['a key twice, once escaped', '{"a":1,"\\u0061":1}', /same key twice/],
  ['a key twice, deep', '[{"x":{"a":1,"b":2,"a":3}}]', /same key twice/],
  ['__proto__ twice', '{"__proto__":1,"__proto__":2}', /same key twice/],
  ['a deep array', '[[[[[1]]]]]', /nested more than 4 deep/],
  ['a deep object', '{"a":{"a":{"a":{"a":{}}}}}', /nested more than 4 deep/],
  ['a lone high surrogate', '"\\ud83d"', /lone surrogate/],
  ['a lone low surrogate', '"\\ude00x"', /lone surrogate/],
  ['an escaped NUL', '"a\\u0000b"', /holds NUL/],
  ['a raw NUL in a string', '"a\0b"', /control character/],
  ['a raw newline in a string', '"a\nb"', /control character/],
  ['a raw newline after an escape', '"\\ta\nb"', /control character/],
  ['an unknown escape', '"\\x41"', /bad escape/],
  ['a short \\u escape', '"\\u41"', /bad escape/],
  ['a string without end', '"abc', /string does not end/],
  ['an escaped last quote', '"abc\\"', /string does not end/],
  ['a key without quotes', '{a:1}', /key is expected/],
  ['a number as key', '{1:1}', /key is expected/],
  ['a comma at the end of an object', '{"a":1,}', /key is expected/],
  ['no colon', '{"a" 1}', /colon is expected/],
  ['an object without end', '{"a":1', /object does not end/],
  ['an array without end', '[1,2', /array does not end/],
  ['a comma at the end of an array', '[1,]', /value is expected/],
  ['a leading zero', '01', /something follows/],
  ['a leading plus', '+1', /value is expected/],
  ['a bare point', '.5', /value is expected/],
  ['NaN', 'NaN', /value is expected/],
  ['hex', '0x10', /something follows/],
  ['a comment', '/**/1', /value is expected/],
  ['a single-quoted string', "'a'", /value is expected/],
  ['a misspelt word', 'nul', /value is expected/],
  ['a form feed as space', '\f1', /value is expected/],
  ['a no-break space', '\u00a01', /value is expected/],
];

describe('parseJson', () => {
  test.each(refused)('refuses %s', (_name, text, message) => {
    expect(() => read(text)).toThrow(
      expect.objectContaining({ code: 'mcp_parse', message: expect.stringMatching(message) }),
    );
  });

  test('keeps what a peer sent out of the message', () => {
    expect(() => read('{"secret":1,"secret":2}')).toThrow(expect.not.stringContaining('secret'));
  });

  const law = [
    genuine,
    ' [ 1 , 2 ]\t\r\n',
    '""',
    '{}',
    '[]',
    '[true,false,null]',
    '"\\u00e9\\n\\"\\\\\\/\\ud83d\\ude00 é 😀 \u007f"',
    '{"constructor":1,"toString":2,"hasOwnProperty":3}',
    '[0,-1,1.5,1e3,1E-7,0.1,123456789012345,-0.000001,1.7976931348623157e308,5e-324]',
  ];
  test.each(law)('reads %s as JSON.parse does', (text) => {
    expect(read(text)).toEqual(JSON.parse(text));
  });

  test('keeps __proto__ as a member and the prototype as it was', () => {
    const value = read('{"__proto__":{"admin":true}}');
    expect(JSON.stringify(value)).toBe('{"__proto__":{"admin":true}}');
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });

  test.each([
    '12345678901234567890',
    '9007199254740993',
    '-9007199254740993',
    '0.30000000000000000001',
    '1e400',
    '1e-400',
    '3.141592653589793238',
  ])('keeps %s digit for digit, as something that is not a number', (text) => {
    const value = read(text);
    expect(typeof value).toBe('object');
    expect(isJsonObject(value)).toBe(false);
    expect(JSON.stringify(value)).toBe(text);
  });

  test.each([
    ['9007199254740992', 9007199254740992],
    ['100000000000000000000', 1e20],
    ['1.50000000000000000000', 1.5],
    ['-0.0000000000000000000', -0],
    ['12e1', 120],
  ])('reads %s as the number it is', (text, value) => {
    expect(read(text)).toBe(value);
  });

  test.each(['"a\\u0000b"', '"\\ud83d"', '"\\ude00x"'])(
    'writes %s back as it was, where it may stand',
    (text) => {
      const odd = (where: 'values' | 'everywhere') => (json: string) =>
        JSON.stringify(parseJson(utf8(json), { ...limits, oddStrings: where }));
      expect(odd('values')(text)).toBe(text);
      expect(odd('everywhere')(`{${text}:${text}}`)).toBe(`{${text}:${text}}`);
      expect(() => odd('values')(`{${text}:1}`)).toThrow(expect.objectContaining({ code: 'mcp_parse' }));
    },
  );

  test('reads as much and as deep as the limits say', () => {
    expect(read(`"${'x'.repeat(1_998)}"`)).toHaveLength(1_998);
    expect(read('[[[[1]]]]')).toEqual([[[[1]]]]);
  });

  test('an object that looks like an exact number is an object', () => {
    expect(isJsonObject(read('{"rawJSON":"1"}'))).toBe(true);
  });

  test('M23 a number of a megabyte takes no longer than another megabyte', () => {
    const text = `1${'0'.repeat(1_000_000)}1`;
    const start = performance.now();
    const value = parseJson(utf8(text), { ...limits, maxBytes: 1e7 });
    expect(performance.now() - start).toBeLessThan(5_000);
    expect(JSON.stringify(value)).toBe(text);
  });

  test('a megabyte of escapes does not exhaust the stack', () => {
    const text = JSON.stringify('\n😀"'.repeat(300_000));
    const wide = { code: 'mcp_parse', maxBytes: 1e7, maxDepth: 1 } as const;
    expect(parseJson(utf8(text), wide)).toBe(JSON.parse(text));
  });
});

test('from the depth that its reader says on, a number keeps its spelling', () => {
  const text = '{"id":1.0,"a":{"b":[1.0,1e3,-0,1E400,0.10,12,0.5,-7,1e21]}}';
  const spelling = { ...limits, spelledFrom: 2 } as const;
  const value = parseJson(utf8(text), spelling);
  expect(JSON.stringify(value)).toBe(text.replace('1.0', '1'));
  const kept = isJsonObject(value) && isJsonObject(value['a']) ? value['a']['b'] : [];
  const numbers = Array.isArray(kept) ? kept.map((each) => unspelled(each)) : [];
  expect(numbers.map((each) => typeof each)).toEqual([
    'number',
    'number',
    'number',
    'object',
    ...Array(5).fill('number'),
  ]);
  expect(numbers.slice(0, 2)).toEqual([1, 1_000]);
});
