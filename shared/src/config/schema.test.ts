import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { IdentityError } from '../ground/errors.ts';
import { by, duration, hostPort, sentence } from './schema.ts';

const says = (schema: z.ZodType, value: unknown) =>
  schema.safeParse(value).error?.issues.map(({ message }) => message);

describe('a text that a parser reads', () => {
  const schema = z.string().transform(
    by((text) => {
      if (text === 'refused') throw new IdentityError('config', 'it is not to be');
      if (text === 'broken') throw new TypeError('a bug');
      return text.length;
    }),
  );

  test('becomes what the parser makes of it', () => {
    expect(schema.parse('four')).toBe(4);
  });

  test.each([
    ['refused', 'it is not to be'],
    ['broken', 'TypeError: a bug'],
  ])('is a problem with the parser’s own sentence: %s', (text, sentence) => {
    expect(says(schema, text)).toEqual([sentence]);
  });
});

test('a length of time is seconds, or its fallback', () => {
  expect([duration('1h').parse('2m'), duration('1h').parse(undefined)]).toEqual([120, 3600]);
  expect(says(duration('1h'), 'soon')).toEqual([expect.stringMatching(/^"soon" is not a length of time/)]);
});

describe('host and port', () => {
  test.each(['127.0.0.1:8443', '[::1]:1', 'ca.prod.example:65535'])('%s is read', (text) => {
    expect(hostPort.parse(text)).toBe(text);
  });

  test.each([
    ['ca.prod.example', 'expected host:port, for instance 127.0.0.1:8443'],
    ['::1:1', 'expected host:port, for instance 127.0.0.1:8443'],
    ['a b:1', 'expected host:port, for instance 127.0.0.1:8443'],
    ['a:65536', 'a port is at most 65535'],
  ])('%s is not', (text, sentence) => {
    expect(says(hostPort, text)).toEqual([sentence]);
  });
});

describe('a schema that a value does not fit', () => {
  const Kind = z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('cat') }),
    z.object({ kind: z.literal('dog') }),
  ]);

  test.each<[string, z.ZodType, unknown, string]>([
    ['a missing string', z.string(), undefined, 'missing (a string is expected)'],
    ['a missing literal', z.literal('v1'), undefined, 'missing ("v1" is expected)'],
    ['another type', z.string(), 3, 'a string is expected, found a number'],
    ['a list for a map', z.object({}), [], 'a map is expected, found a list'],
    ['a map for a list', z.array(z.string()), {}, 'a list is expected, found a map'],
    ['a text for a number', z.int(), '3', 'a number is expected, found a string'],
    ['a fraction', z.int(), 1.5, 'a whole number is expected, found 1.5'],
    ['a text for a boolean', z.boolean(), 'yes', 'true or false is expected, found a string'],
    ['null', z.string(), null, 'a string is expected, found null'],
    ['a map of another kind', z.record(z.string(), z.string()), 1, 'a map is expected, found a number'],
    ['an unknown choice', z.enum(['a', 'b', 'c']), 'd', '"a", "b" or "c" is expected, found "d"'],
    ['an unknown kind', Kind, { kind: 'cow' }, '"cat" or "dog" is expected, found "cow"'],
    ['no kind', Kind, {}, 'missing ("cat" or "dog" is expected)'],
    ['an empty string', z.string().min(1), '', 'it must not be empty'],
    ['a short string', z.string().min(3), 'ab', 'at least 3 characters are expected, found 2'],
    ['a long string', z.string().max(1), 'ab', 'at most 1 characters are expected, found 2'],
    ['an empty list', z.array(z.string()).min(1), [], 'at least 1 entry is expected, found 0'],
    ['a long list', z.array(z.int()).max(2), [1, 2, 3], 'at most 2 entries are expected, found 3'],
    ['a small number', z.int().min(60), 3, 'a number of at least 60 is expected, found 3'],
    ['a large number', z.int().max(60), 61, 'a number of at most 60 is expected, found 61'],
    ['no URL', z.url(), 'here', 'a URL is expected'],
    ['another start', z.string().startsWith('/'), 'mcp', 'a text that starts with "/" is expected'],
    ['another form', z.string().regex(/^[a-z]+$/), 'A', 'text of the form /^[a-z]+$/ is expected'],
    ['no time', z.iso.datetime(), 'noon', 'a time such as 2026-01-31T12:00:00Z is expected'],
    ['no base64', z.base64(), '!', 'base64 is expected'],
  ])('is told in our words: %s', (_, schema, value, says) => {
    const { error } = schema.safeParse(value, { error: sentence });
    expect(error?.issues.map(({ message }) => message)).toEqual([says]);
  });

  test('keeps the sentence that the schema brings', () => {
    const { error } = z.string().regex(/^a$/, 'only a').safeParse('b', { error: sentence });
    expect(error?.issues[0]?.message).toBe('only a');
  });
});
