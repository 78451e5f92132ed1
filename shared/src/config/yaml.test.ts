import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { refusal } from '../../../test/kit/refusal.ts';
import { duration, form, forms } from './schema.ts';
import { Problems, readDocuments } from './yaml.ts';

const Cat = z.strictObject({ kind: z.literal('cat'), name: z.string() });
const Dog = z.strictObject({ kind: z.literal('dog'), name: z.string(), tricks: z.array(z.string()).min(1) });
const Ages = z.strictObject({
  ages: z.record(z.string().regex(/^[a-z]+$/, 'a name is lower-case'), z.int()),
});
const Food = z.union(
  [z.string().min(1), form({ meat: z.string() }), form({ fish: z.string(), raw: z.boolean() })],
  { error: forms('a name, or a map with meat, or with fish and raw') },
);
const Age = z.strictObject({ age: z.int().max(99) });
const Bowl = z.strictObject({ food: Food });
const Pet = z.discriminatedUnion('kind', [Cat, Dog]);

/** What is read, and the problems line by line. */
function read<T>(text: string, schema: z.ZodType<T>) {
  const problems = new Problems();
  const found = readDocuments(text, 'pets.yaml', schema, problems);
  try {
    problems.throwIfAny('config');
    return { found, says: [] };
  } catch (error) {
    expect(error).toEqual(refusal('config', /^pets\.yaml:/));
    return { found, says: error instanceof Error ? error.message.split('\n') : [] };
  }
}
const CAT = 'kind: cat\nname: Tom\n';
const DOG = 'kind: dog\nname: Rex\ntricks:\n  - sit\n  - roll\n';

test('each document is a value, and knows the lines and the texts of its parts', () => {
  const { found, says } = read(`# pets\n${CAT}---\n${DOG}`, Pet);
  expect(says).toEqual([]);
  expect(found.map(({ value }) => value.name)).toEqual(['Tom', 'Rex']);
  const dog = found[1];
  expect(
    [['name'], ['tricks', 1], ['tricks', 'none'], ['collar'], []].map((path) => dog?.lineOf(path)),
  ).toEqual([6, 9, 8, 5, 5]);
  expect(
    [['name'], ['tricks', 1], ['tricks', 2], ['tricks'], ['collar']].map((path) => dog?.writtenAt(path)),
  ).toEqual(['Rex', 'roll', undefined, undefined, undefined]);
});

test.each(['', '# nothing\n', '---\n', '---\n---\n'])('no document is in %j', (text) => {
  expect(read(text, Pet)).toEqual({ found: [], says: [] });
});

describe('is refused with its line:', () => {
  test.each<[string, string, z.ZodType, readonly string[]]>([
    ['null, said aloud', 'null\n', Pet, ['pets.yaml:1: a map is expected, found null']],
    ['a list', '- a\n', Pet, ['pets.yaml:1: a map is expected, found a list']],
    ['an unknown key', `${CAT}age: 3\n`, Pet, ['pets.yaml:3: unknown key age']],
    ['a prototype', `${CAT}__proto__: { name: Rex }\n`, Pet, ['pets.yaml:3: unknown key __proto__']],
    ['a key twice', `${CAT}name: Rex\n`, Pet, ['pets.yaml:3: this key is set twice']],
    [
      'an alias',
      'kind: cat\nname: &n Tom\nother: *n\n',
      Pet,
      ['pets.yaml:3: *n is an alias: write the value out'],
    ],
    [
      'an alias of nothing',
      'kind: cat\nname: *n\n',
      Pet,
      ['pets.yaml:2: *n is an alias: write the value out'],
    ],
    ['a tag that means nothing', 'kind: cat\nname: !secret Tom\n', Pet, ['pets.yaml:2: unknown tag !secret']],
    ['what is no YAML', 'kind: [\n', Pet, [expect.stringMatching(/^pets\.yaml:2: .*\]/)]],
    [
      'another type',
      'kind: cat\nname: 3\n',
      Pet,
      ['pets.yaml:2: name: a string is expected, found a number'],
    ],
    [
      'a part of a list',
      `${DOG}  - 3\n`,
      Pet,
      ['pets.yaml:6: tricks.2: a string is expected, found a number'],
    ],
    [
      'a part that is missing, where its parent is',
      'kind: dog\nname: Rex\n',
      Pet,
      ['pets.yaml:1: tricks: missing (a list is expected)'],
    ],
    [
      'a kind that is none',
      'kind: cow\n',
      Pet,
      ['pets.yaml:1: kind: "cat" or "dog" is expected, found "cow"'],
    ],
    [
      'a key of a map that is none, as its schema says it',
      'ages: {Tom: 3}\n',
      Ages,
      ['pets.yaml:1: ages.Tom: a name is lower-case'],
    ],
    [
      'what fits no form, as the form says whose key is present',
      'food:\n  fish: cod\n',
      Bowl,
      ['pets.yaml:2: food.raw: missing (true or false is expected)'],
    ],
    [
      'a form with a key of none',
      'food: {meat: 1, rwa: true}\n',
      Bowl,
      ['pets.yaml:1: food.meat: a string is expected, found a number', 'pets.yaml:1: unknown key food.rwa'],
    ],
    ['a key that is a list', '? [a, b]\n: 1\n', Pet, ['pets.yaml:1: a key is a text, not a list or a map']],
    [
      'a value nested too deep, once',
      `name: ${'['.repeat(5_000)}\n`,
      Pet,
      ['pets.yaml:1: lists or maps are nested too deep'],
    ],
    [
      'a line without a colon',
      'kind cat\nname: Tom\n',
      Pet,
      ['pets.yaml:1: a key without a colon: write "key: value" in one line'],
    ],
    [
      'this line has two keys, or the next one is indented too far',
      'kind: cat name: Tom\n',
      Pet,
      [
        'pets.yaml:1: this line has two keys, or the next one is indented too far: write each key in a line of its own, and quote a value that has ": " in it',
      ],
    ],
    ['no number', 'age: .nan\n', Age, ['pets.yaml:1: age: a number is expected, found NaN']],
    ['a number without end', 'age: .inf\n', Age, ['pets.yaml:1: age: a number is expected, found Infinity']],
    [
      'a number far too large, once',
      'age: 1e30\n',
      Age,
      ['pets.yaml:1: age: a number of at most 99 is expected, found 1e+30'],
    ],
    [
      'a number where a string with an example is expected',
      'life: 3600\n',
      z.strictObject({ life: duration('1h') }),
      ['pets.yaml:1: life: a length of time such as 20s, 15m, 1h or 7d is expected, found a number'],
    ],
    ['a form of its type', "food: ''\n", Bowl, ['pets.yaml:1: food: it must not be empty']],
    ...(
      [
        ['keys of two forms', '{meat: ox, fish: cod}', 'a map with meat, fish'],
        ['keys of two forms, one complete', '{meat: ox, fish: cod, raw: true}', 'a map with meat, fish, raw'],
        ['keys of no form', '{maet: ox}', 'a map with maet'],
        ['no key', '{}', 'an empty map'],
        ['another type', '3', 'a number'],
        ['a list', '[ox]', 'a list'],
      ] as const
    ).map(([name, food, found]): [string, string, z.ZodType, readonly string[]] => [
      `${name}, where a key has several forms`,
      `food: ${food}\n`,
      Bowl,
      [`pets.yaml:1: food: a name, or a map with meat, or with fish and raw is expected, found ${found}`],
    ]),
    [
      'a missing key of several forms',
      '{}\n',
      Bowl,
      ['pets.yaml:1: food: missing (a name, or a map with meat, or with fish and raw is expected)'],
    ],
  ])('%s', (_, text, schema, says) => {
    expect(read(text, schema)).toEqual({ found: [], says });
  });
});

test('every problem is told, and the documents that fit are read', () => {
  const { found, says } = read(
    `${CAT}age: 3\ncolour: red\n---\n${DOG}---\nkind: dog\nname: 1\ntricks: []\n`,
    Pet,
  );
  expect(found.map(({ value }) => value.name)).toEqual(['Rex']);
  expect(says.map((each) => each.slice(0, 'pets.yaml:99'.length))).toEqual([
    'pets.yaml:3:',
    'pets.yaml:4:',
    'pets.yaml:13',
    'pets.yaml:14',
  ]);
});
