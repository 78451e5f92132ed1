import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { IdentityError } from './errors.ts';
import { by, duration, hostPort } from './schema.ts';

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
