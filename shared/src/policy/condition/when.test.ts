import { describe, expect, test } from 'vitest';
import { isJsonObject, type JsonObject, parseJson } from '../../ground/json.ts';
import { parseSpiffeId } from '../../spiffe/id.ts';
import { type Call, toolNamed } from '../call.ts';
import { compileWhen } from './when.ts';

const NOW = new Date('2026-12-01T12:00:00Z');
const given: Call = {
  caller: parseSpiffeId('spiffe://prod.example/agents/triage'),
  certifiedAt: new Date(NOW.getTime() - 600_000),
  attested: {
    platform: 'kubernetes/eu-1',
    attributes: new Map([
      ['kubernetes.namespace', 'prod'],
      ['kubernetes.constructor', 'x'],
    ]),
  },
  server: 'github',
  what: toolNamed('create_issue'),
  now: NOW,
  session: 'abc',
  source: '192.0.2.7',
};

/** Arguments as the gateway reads them. */
function argsOf(text: string): JsonObject {
  const limits = { code: 'mcp_parse', maxBytes: 20_000_000, maxDepth: 64, spelledFrom: 0 } as const;
  const read = parseJson(Buffer.from(text), { ...limits, oddStrings: 'values' });
  if (!isJsonObject(read)) throw new Error('not an object');
  return read;
}

const answer = (condition: string, args?: string, more: Partial<Call> = {}): boolean | string =>
  compileWhen(condition).answer({
    ...given,
    ...(args === undefined ? {} : { arguments: argsOf(args) }),
    ...more,
  });

describe('a condition on what is known of every call', () => {
  test.each([
    ['caller.id == "spiffe://prod.example/agents/triage"', true],
    ['caller.id.startsWith("spiffe://prod.example/agents/")', true],
    ['caller.certificateAge < duration("15m")', true],
    ['caller.certificateAge < duration("5m")', false],
    ['caller.platform == "kubernetes/eu-1"', true],
    ['caller.attributes.kubernetes.namespace == "prod"', true],
    ['caller.attributes["kubernetes"]["namespace"] == "dev"', false],
    ['caller.attributes.kubernetes.constructor == "x"', true],
    ['has(caller.attributes.aws)', false],
    ['has(caller.attributes.kubernetes.toString)', false],
    ['"kubernetes" in caller.attributes && size(caller.attributes) == 1', true],
    ['server == "github" && tool == "create_issue"', true],
    ['now < timestamp("2026-12-31T00:00:00Z")', true],
    ['now.getHours("Europe/Berlin") == 13', true],
    ['now - timestamp("2026-12-01T11:00:00Z") == duration("1h")', true],
    ['session.id == "abc"', true],
    ['source == "192.0.2.7"', true],
    ['source.startsWith("10.")', false],
    ['["github", "gitlab"].exists(name, name == server)', true],
    ['tool.matches("^create_")', true],
    ['type(source) == string', true],
  ])('%s', (condition, expected) => {
    expect(answer(condition)).toBe(expected);
  });
});

describe('a condition on arguments', () => {
  test.each<[string, string, boolean]>([
    ['args.owner == "acme"', '{"owner":"acme"}', true],
    ['args.owner == "acme"', '{"owner":"Acme"}', false],
    ['args.n == 1', '{"n":1.0}', true],
    ['args.n == 1', '{"n":1e0}', true],
    ['args.n < 10 && args.n > 1.5', '{"n":2}', true],
    ['int(args.n) % 2 == 0', '{"n":4}', true],
    ['args.id == 9007199254740993', '{"id":9007199254740993}', true],
    ['args.id == 9007199254740993', '{"id":9007199254740992}', false],
    ['args.id < 9007199254740993', '{"id":9007199254740992}', true],
    ['args.id == -9223372036854775808', '{"id":-9223372036854775808}', true],
    ['int(args.id) % 2 == 1', '{"id":9007199254740993}', true],
    ['args.x == null', '{"x":null}', true],
    ['has(args.x)', '{"x":null}', true],
    ['"x" in args', '{"x":null}', true],
    ['has(args.x)', '{}', false],
    ['"x" in args', '{}', false],
    ['has(args.a) && has(args.a.b)', '{"a":{"b":1}}', true],
    ['args["a-b"] == 1', '{"a-b":1}', true],
    ['args.l[1] == 2', '{"l":[1,2]}', true],
    ['2 in args.l', '{"l":[1,2]}', true],
    ['size(args.l) == 2 && size(args) == 1', '{"l":[1,2]}', true],
    ['args.l.all(x, x.n > 0)', '{"l":[{"n":1},{"n":2}]}', true],
    ['args.m.all(key, key != "admin")', '{"m":{"admin":1}}', false],
    ['args.l.filter(x, x > 1).size() == 1', '{"l":[1,2]}', true],
    ['args.a == {"b": [1, "x"]}', '{"a":{"b":[1,"x"]}}', true],
    ['args.text.contains("secret")', '{"text":"a secret"}', true],
    ['args.text.matches("^[a-z]+$")', '{"text":"abc"}', true],
    ['args.day.matches("[0-9]")', '{"day":"May 3"}', true],
    ['size(args.text) == 1', '{"text":"\\ud83d\\ude00"}', true],
  ])('%s of %s', (condition, args, expected) => {
    expect(answer(condition, args)).toBe(expected);
  });

  test.each<[string, string, RegExp]>([
    ['args.owner == "acme"', '{}', /^cannot be decided: field not found: owner$/],
    ['args.a.b == 1', '{"a":"text"}', /^cannot be decided/],
    ['has(args.a.b)', '{"a":"text"}', /^cannot be decided/],
    ['args.owner', '{"owner":"acme"}', /^is neither true nor false$/],
    ['args.n + 1 == 2', '{"n":1}', /found no matching overload/],
    ['args.id == 1', '{"id":9223372036854775808000}', /neither a double nor an integer of 64 bits/],
    ['args.id == 1', '{"id":0.10000000000000000001}', /neither a double nor an integer/],
    ['args.id > 1', '{"id":9223372036854775809}', /neither a double nor an integer/],
    ['args.l[7] == 1', '{"l":[1]}', /^cannot be decided/],
    ['int(args.text) == 1', '{"text":"one"}', /^cannot be decided/],
  ])('%s of %s cannot be decided', (condition, args, says) => {
    expect(answer(condition, args)).toMatch(says);
  });

  test.each([
    ['args["__proto__"] == 1', '{"__proto__":1}', true],
    ['has(args.constructor)', '{}', false],
    ['"toString" in args', '{}', false],
    ['args.constructor.name == "Object"', '{"constructor":{"name":"Object"}}', true],
    ['args.owner == "acme"', '{"owner":{"$typeName":"google.protobuf.StringValue","value":"acme"}}', false],
    [
      'type(args.owner) == map',
      '{"owner":{"$typeName":"google.protobuf.Timestamp","seconds":1,"nanos":0}}',
      true,
    ],
  ])('a name of JavaScript or protobuf is nothing but a name: %s of %s', (condition, args, expected) => {
    expect(answer(condition, args)).toBe(expected);
  });
});

describe('what is unknown', () => {
  const unknown: Partial<Call> = {
    attested: undefined,
    session: undefined,
    source: undefined,
    now: undefined,
  };
  test.each([
    ['args.owner == "acme"', 'args is not known'],
    ['has(args.force)', 'args is not known'],
    ['!has(args.force)', 'args is not known'],
    ['!("force" in args)', 'args is not known'],
    ['args == {}', 'args is not known'],
    ['session.id != ""', 'session is not known'],
    ['source != ""', 'source is not known'],
    ['now > timestamp("2026-01-01T00:00:00Z")', 'now is not known'],
    ['caller.certificateAge < duration("1h")', 'field not found: certificateAge'],
    ['caller.platform != "tpm"', 'field not found: platform'],
    ['has(caller.attributes.aws)', 'field not found: attributes'],
  ])('%s', (condition, says) => {
    expect(answer(condition, undefined, unknown)).toBe(`cannot be decided: ${says}`);
  });

  test.each([
    ['caller.attributes.aws.account == "1"', 'field not found: aws'],
    ['caller.attributes.kubernetes.zone != "a"', 'field not found: zone'],
  ])('of what a certificate can say: %s', (condition, says) => {
    expect(answer(condition)).toBe(`cannot be decided: ${says}`);
  });

  test('is nothing of a certificate that says nothing', () => {
    const attested = { platform: undefined, attributes: new Map<string, string>() };
    expect(answer('caller.attributes == {}', undefined, { attested })).toBe(true);
    const says = 'cannot be decided: field not found: platform';
    expect(answer('caller.platform == "tpm"', undefined, { attested })).toBe(says);
  });

  test('does not matter where the rest decides', () => {
    expect(answer('server == "gitlab" && args.owner == "acme"')).toBe(false);
    expect(answer('server == "github" || args.owner == "acme"')).toBe(true);
  });
});

describe('arguments beyond the limits are unknown', () => {
  const long = 'x'.repeat(70_000);
  test.each([
    ['a long text', JSON.stringify({ text: long })],
    ['a long key', JSON.stringify({ [long]: 1 })],
    ['many values', JSON.stringify({ l: Array.from({ length: 2_000 }, () => 1) })],
    ['many values in depth', JSON.stringify({ a: { l: Array.from({ length: 500 }, () => [[[1]]]) } })],
    ['16 MiB', JSON.stringify({ text: 'x'.repeat(16 * 1024 * 1024) })],
  ])('%s', (_name, args) => {
    expect(answer('has(args.owner)', args)).toMatch(
      /^cannot be decided: args has more than 65536 characters or 2000/,
    );
    expect(answer('server == "github" || has(args.owner)', args)).toBe(true);
  });

  test('and within them are known', () => {
    const args = JSON.stringify({ text: 'x'.repeat(60_000), l: Array.from({ length: 1_900 }, (_, n) => n) });
    expect(answer('size(args.l) == 1900 && size(args.text) == 60000', args)).toBe(true);
  });
});

test('the same text is compiled once', () => {
  const [first, second] = ['server == "github"', 'server == "github"'].map(compileWhen);
  expect(first).toBe(second);
});
