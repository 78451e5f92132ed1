import { describe, expect, test } from 'vitest';
import { seeded } from '../../../../test/kit/random.ts';
import { parseSpiffeId } from '../../spiffe/id.ts';
import { toolNamed } from '../call.ts';
import { decide } from '../decide.ts';
import { compileSpiffePattern } from '../patterns/spiffe.ts';
import { compileToolPattern } from '../patterns/tool.ts';
import { compilePolicy } from '../policy.ts';
import { Access } from '../resources/access.ts';
import { McpServer } from '../resources/server.ts';
import { ByCaller } from './by-caller.ts';
import { ByName } from './by-name.ts';
import { byAction } from './classes.ts';

const random = seeded(20_261_130);
const pick = <T>(list: readonly T[]): T => list[random.int(list.length)] as T;
const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

test('finds for each caller what each pattern alone would match, once', () => {
  const segments = ['a', 'b', 'c', '*'];
  const patterns = times(300, () => {
    const path = times(1 + random.int(4), () => pick(segments)).join('/');
    return `spiffe://${pick(['one.example', 'two.example'])}/${path}${pick(['', '', '/**'])}`;
  });
  const index = new ByCaller<string>();
  for (const pattern of [...patterns, ...patterns.slice(0, 50)]) index.add(pattern, pattern);
  const callers = times(500, () => {
    const path = times(1 + random.int(5), () => pick(['a', 'b', 'c', 'd'])).join('/');
    return parseSpiffeId(`spiffe://${pick(['one.example', 'two.example', 'three.example'])}/${path}`);
  });
  for (const caller of [...callers, parseSpiffeId('spiffe://one.example/chancery/ca')]) {
    const expected = new Set(patterns.filter((each) => compileSpiffePattern(each)(caller)));
    expect([...index.find(caller)].toSorted()).toEqual([...expected].toSorted());
  }
});

test('finds for each name the lines that match, in the order that they were given in', () => {
  const texts = ['get', 'get_*', '*', 'list', '/(get|list)/', 'put', 'get', '*_x'];
  const lines = times(60, () => ({
    kind: pick(['tool', 'prompt']),
    pattern: compileToolPattern(pick(texts)),
  }));
  const index = new ByName(lines);
  for (const kind of ['tool', 'prompt', 'other'])
    for (const name of ['get', 'get_x', 'list', 'put', 'none', '*', ''])
      expect(index.about(kind, name)).toEqual(
        lines.filter((line) => line.kind === kind && line.pattern.matches(name)),
      );
});

describe('classes of tools', () => {
  const table = {
    get_issue: { action: 'read' },
    'get_*': { action: 'query' },
    '*_secret': { action: 'admin' },
    '/set_.+/': { action: 'update' },
    toString: { action: 'read' },
    '/(/': { action: 'admin' },
  } as const;
  test.each([
    ['get_issue', ['read'], true, true],
    ['get_issue', ['query'], false, false],
    ['get_log', ['query'], true, true],
    ['get_secret', ['query'], false, true],
    ['get_secret', ['admin'], false, true],
    ['get_secret', ['query', 'admin'], true, true],
    ['set_x', ['update'], true, true],
    ['drop', ['read', 'query', 'update', 'admin'], false, false],
    ['constructor', ['read', 'query', 'update', 'admin'], false, false],
    ['toString', ['read'], true, true],
    ['get_*', ['query'], true, true],
    ['/(/', ['admin'], false, false],
  ] as const)('%s is allowed and denied by %j: %s, %s', (tool, actions, allowed, denied) => {
    expect(byAction(actions, table, 'allow').matches(tool)).toBe(allowed);
    expect(byAction(actions, table, 'deny').matches(tool)).toBe(denied);
  });

  test('are those of the server of the call, and the list changes with them', () => {
    const server = (name: string, action: string) =>
      McpServer.parse({
        ...{ kind: 'McpServer', name, identity: `spiffe://td/${name}`, address: 'a:1' },
        tools: { run: { action } },
      });
    const access = (name: string, tools: object) =>
      Access.parse({ kind: 'Access', name, who: ['spiffe://td/app'], servers: ['one', 'two'], tools });
    const rules = [
      access('reads', { allowActions: ['read'], deny: ['x'] }),
      access('no-admin', { denyActions: ['admin'] }),
      access('runs', { allow: ['run'] }),
    ];
    const policy = compilePolicy([server('one', 'read'), server('two', 'admin'), ...rules], 1n);
    const caller = parseSpiffeId('spiffe://td/app');
    const at = (name: string) => decide(policy, { caller, server: name, what: toolNamed('run') });
    expect(at('one')).toMatchObject({ allow: true, rule: 'reads' });
    expect(at('two')).toMatchObject({
      ...{ allow: false, rule: 'no-admin' },
      reason: expect.stringMatching(/: action admin$/),
    });
    const [one, two] = ['one', 'two'].map((name) =>
      policy.rulesFor({ caller: caller }, name).listing('tool'),
    );
    expect(one).not.toBe(two);
  });
});

test('a policy with too many different conditions is refused', () => {
  const rule = (n: number) =>
    Access.parse({
      ...{ kind: 'Access', name: `r${n}`, who: ['spiffe://td/app'], servers: ['s'], tools: { allow: ['x'] } },
    });
  const rules = Array.from({ length: 10_001 }, (_, n) => ({ ...rule(n), when: `${n} == 1` }));
  expect(() => compilePolicy(rules, 1n)).toThrow('10001 different conditions, at most 10000 are taken');
});
