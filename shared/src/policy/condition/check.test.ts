import { describe, expect, test } from 'vitest';
import { checkCondition } from './check.ts';

const refusal = (text: string): string => {
  try {
    checkCondition(text);
    return 'accepted';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};
const reads = (text: string): readonly string[] => [...checkCondition(text).reads].toSorted();

test('names what a condition reads', () => {
  expect(reads('caller.id == "a" && args.n > 1')).toEqual(['args', 'caller']);
  expect(reads('true')).toEqual([]);
  expect(reads('args.l.all(x, x == source)')).toEqual(['args', 'source']);
});

describe('refuses, with the place and the reason', () => {
  test.each([
    ['argz.owner == "a"', 'column 1: there is no argz in a condition: args may be meant'],
    ['true && user == 1', /^column 9: there is no user in a condition, but caller, server, tool, args/],
    ['caller.labels.team == "a"', /^column \d+: there is no caller.labels in a condition, but caller.id/],
    ['has(caller.attributes)', /caller.attributes needs no has/],
    ['caller["id"] == "a"', /^column 1: caller is read by field: caller.id, caller.certificateAge, caller/],
    ['caller == {}', /caller is read by field/],
    ['has(session.id)', /session.id needs no has\(\)/],
    ['args.a.lower() == "a"', /there is no function lower$/],
    ['args.l.exists(1 + 1, true)', /there is no function exists$/],
    ['args.owner = "acme"', /^column \d+: it is not a CEL expression: /],
    ['', /^column 1: it is not a CEL expression: /],
    ['server ==\n  "a" && usr', /^line 2, column 10: there is no usr/],
    ['args.a.matches(args.b)', /the regex of matches must be written out/],
    ['args.a.matches("(")', /^column \d+: .*missing/],
    ['args.a.matches("(x{100}){10}")', /compiles to \d+ steps, at most 1000/],
    ['now < timestamp("tomorrow")', /^column \d+: /],
    ['"text"', /gives something else than true or false/],
    ['args.n + 1', /gives something else than true or false/],
    ['[true]', /gives something else than true or false/],
    ['google.protobuf.Timestamp{} == now', /is a message of protobuf/],
    ['args.l.all(args, true)', /args cannot be the variable of a macro/],
    ['args.l.all(x, args.l.exists(y, x == y))', /a macro .* is inside or behind another/],
    ['args.l.map(x, [x].all(y, true)) == []', /inside or behind another/],
    ['args.l.filter(x, true).all(y, true)', /inside or behind another/],
  ])('%s', (text, says) => {
    expect(refusal(text)).toEqual(typeof says === 'string' ? says : expect.stringMatching(says));
  });
});

test.each([
  [
    'brackets',
    `${'('.repeat(40)}true${')'.repeat(40)}`,
    /^column 33: brackets are nested more than 32 deep$/,
  ],
  ['characters', `args.a == "${'x'.repeat(1_024)}"`, /^it is longer than 1024 characters$/],
  ['parts', Array.from({ length: 250 }, () => '!1').join('||'), /^column \d+: it has more than 200 parts$/],
])('refuses too many %s', (_, text, says) => {
  expect(refusal(text)).toMatch(says);
});

test.each([
  'true',
  '!has(args.x)',
  'args.x',
  'args.flag ? args.a == 1 : args.b == 2',
  'args.l.exists_one(x, x == 1)',
  'args.a.all(x, x) && args.b.all(y, y)',
  'type(args.a) == list',
  'dyn(args.a)',
  'bytes(args.a) == b"a"',
])('accepts %s', (text) => {
  expect(refusal(text)).toBe('accepted');
});
