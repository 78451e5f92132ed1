import { KINDS, toolNamed } from '@chancery/shared/policy/call.ts';
import { decide } from '@chancery/shared/policy/decide.ts';
import { compileSpiffePattern } from '@chancery/shared/policy/patterns/spiffe.ts';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { describe, expect, test } from 'vitest';
import { NOW } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { reachOf } from './reach.ts';
import { graphOf } from './reach-graph.ts';

const id = (path: string): SpiffeId => parseSpiffeId(`spiffe://td/${path}`);
const server = (name: string) =>
  McpServer.parse({ kind: 'McpServer', name, identity: id(`tools/${name}`), address: 'tools.example:443' });
const access = (name: string, who: readonly string[], tools: object, servers = ['git']) =>
  Access.parse({ kind: 'Access', name, who: who.map((each) => `spiffe://td/${each}`), servers, tools });

const SET = [
  server('git'),
  server('mail'),
  access('all-read', ['agents/**'], { allow: ['get-*'], deny: ['get-secret'] }),
  access('triage-writes', ['agents/triage'], { allow: ['close-issue'] }, ['git', 'mail']),
  access('night-stop', ['agents/night/*'], { deny: ['get-log'] }),
];

test('a roll-out is said, until its end', () => {
  const until = new Date(NOW.getTime() + 60_000).toISOString();
  const set = [
    ...SET.filter(({ name }) => name !== 'git'),
    { ...server('git'), observe: { until } },
    Access.parse({ kind: 'Access', name: 'all', who: [id('a')], servers: ['mail'], everything: { until } }),
  ];
  const reached = reachOf(set, { id: id('a') }, NOW);
  expect(reached.observing).toEqual([{ server: 'git', until }]);
  expect(reached.calls.map(({ kind, names, rules }) => ({ kind, names, rules }))).toEqual(
    KINDS.filter((kind) => kind !== 'logging').map((kind) => ({
      kind,
      names: [`everything until ${until}`],
      rules: ['all'],
    })),
  );
  expect(reachOf(set, { id: id('a'), tool: 'x' }, NOW).calls).toHaveLength(1);
  expect(reachOf(set, { id: id('a') }, new Date(until))).toMatchObject({ observing: [], calls: [] });
});

test('the arguments that records have in clear are those of the servers that are looked at', () => {
  const clear = [
    { tools: ['get-*', 'put'], fields: ['/repo'] },
    { tools: ['drop'], fields: ['/id'] },
  ];
  const set = [...SET.filter(({ name }) => name !== 'git'), { ...server('git'), clear }];
  const of = (query: Parameters<typeof reachOf>[1]) => reachOf(set, query, NOW).clear;
  expect(of({ server: 'git' })).toEqual(clear.map((rule) => ({ server: 'git', ...rule })));
  expect(of({ tool: 'get-x' })).toEqual([{ server: 'git', tools: ['get-*'], fields: ['/repo'] }]);
  expect(of({ server: 'mail' })).toEqual([]);
  expect(of({ id: id('agents/triage') })).toEqual([]);
  expect(of({ id: id('tools/git') })).toHaveLength(2);
});

describe('an identity', () => {
  test('may call what all of its rules allow together, server by server', () => {
    const { calls, callers } = reachOf(SET, { id: id('agents/triage') }, NOW);
    expect(calls).toEqual([
      {
        who: id('agents/triage'),
        server: 'git',
        kind: 'tool',
        names: ['close-issue', 'get-*'],
        except: ['get-secret'],
        exceptForSome: [],
        rules: ['all-read', 'triage-writes'],
      },
      expect.objectContaining({ server: 'mail', names: ['close-issue'], except: [] }),
    ]);
    expect(callers).toEqual([]);
  });

  test('of a server shows who may call it', () => {
    const { calls, callers } = reachOf(SET, { id: id('tools/git') }, NOW);
    expect(calls).toEqual([]);
    expect(callers).toEqual([
      expect.objectContaining({ who: 'spiffe://td/agents/**', exceptForSome: ['get-log'] }),
      expect.objectContaining({ who: 'spiffe://td/agents/night/*', except: ['get-log', 'get-secret'] }),
      expect.objectContaining({ who: id('agents/triage'), exceptForSome: [] }),
    ]);
  });

  test('that no rule speaks of, and a reserved one, may call nothing', () => {
    const open = [...SET, access('everybody', ['**'], { allow: ['*'] })];
    expect(reachOf(SET, { id: id('web') }, NOW).calls).toEqual([]);
    expect(reachOf(open, { id: id('web') }, NOW).calls).toHaveLength(1);
    expect(reachOf(open, { id: id('chancery/ca') }, NOW).calls).toEqual([]);
  });
});

test('what has ended does not count', () => {
  const ending = SET.map((each) => (each.name === 'all-read' ? { ...each, until: NOW.toISOString() } : each));
  const before = new Date(NOW.getTime() - 1);
  expect(reachOf(ending, { server: 'git' }, before).callers).toHaveLength(3);
  expect(reachOf(ending, { server: 'git' }, NOW).callers).toMatchObject([{ rules: ['triage-writes'] }]);
});

describe('a query', () => {
  test('with a tool keeps the patterns that match it, and nobody whom a rule denies it', () => {
    const who = (tool: string) => reachOf(SET, { tool }, NOW).callers.map((each) => each.who);
    expect(who('get-issue')).toEqual([
      'spiffe://td/agents/**',
      'spiffe://td/agents/night/*',
      id('agents/triage'),
    ]);
    expect(who('close-issue')).toEqual([id('agents/triage'), id('agents/triage')]);
    expect(who('get-secret')).toEqual([]);
    expect(reachOf(SET, { tool: 'get-log' }, NOW).callers[0]).toMatchObject({
      names: ['get-*'],
      except: [],
      exceptForSome: ['get-log'],
    });
  });

  test('with a server shows that one only, and refuses one that is not registered', () => {
    expect(reachOf(SET, { server: 'mail' }, NOW).callers).toMatchObject([{ server: 'mail' }]);
    expect(reachOf(SET, { id: id('agents/triage'), server: 'mail' }, NOW).calls).toMatchObject([
      { server: 'mail' },
    ]);
    expect(() => reachOf(SET, { server: 'none' }, NOW)).toThrow(refusal('resource', /no McpServer\/none/));
  });
});

test('a tool that no rule can allow is refused, and a caller that is denied everything is not listed', () => {
  for (const tool of [' delete_repo', 'delete\u200b_repo', 'x'.repeat(200)])
    expect(() => reachOf(SET, { tool }, NOW)).toThrow(refusal('resource', /^no rule can allow this tool: /));
  const stopped = [...SET, access('stop', ['agents/**'], { deny: ['*'] })];
  expect(reachOf(stopped, { server: 'git' }, NOW).callers).toEqual([]);
  expect(reachOf(stopped, { server: 'mail' }, NOW).callers).toHaveLength(1);
});

test('four hundred patterns at forty servers are compared in a moment', () => {
  const names = Array.from({ length: 40 }, (_, n) => `s${n}`);
  const rules = names.map((name, n) =>
    access(
      name,
      Array.from({ length: 10 }, (_, m) => `agents/${n}/${m === 0 ? '**' : m}`),
      { allow: ['get-*'], deny: [`get-${n}`] },
      names,
    ),
  );
  const { callers } = reachOf([...names.map(server), ...rules], { tool: 'get-a' }, NOW);
  expect(callers).toHaveLength(16_000);
});

test('it says what the decision says, for every identity, server and tool of two hundred random sets', () => {
  let seed = 7;
  const below = (n: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * n);
  };
  const some = <T>(from: readonly T[]): readonly T[] => from.filter(() => below(3) === 0);
  const who = ['a', 'a/b', 'a/*', 'a/**', '*', '*/b', '**', '*/*', 'chancery/**'];
  const tools = ['get', 'get-*', '*', '/(get|put)/', 'put'];
  const ids = ['a', 'a/b', 'a/b/c', 'b', 'b/b', 'chancery/ca'].map(id);
  for (let round = 0; round < 200; round += 1) {
    const rules = ['r1', 'r2', 'r3', 'r4'].flatMap((name) => {
      const [callers, allow, deny] = [some(who), some(tools), some(some(tools))];
      return callers.length === 0 || allow.length + deny.length === 0
        ? []
        : [access(name, callers, { allow, deny }, ['git', 'mail'].slice(below(2)))];
    });
    const resources = [server('git'), server('mail'), ...rules];
    const policy = compilePolicy(resources, 1n);
    for (const name of ['git', 'mail'])
      for (const tool of ['get', 'put', 'get-it', 'other']) {
        const { callers } = reachOf(resources, { server: name, tool }, NOW);
        for (const caller of ids) {
          const { allow } = decide(policy, { caller, server: name, what: toolNamed(tool) });
          const { calls } = reachOf(resources, { id: caller, server: name, tool }, NOW);
          expect(calls.length, `${round} ${caller} ${name} ${tool}`).toBe(allow ? 1 : 0);
          const speaking = callers.filter((each) => compileSpiffePattern(each.who)(caller));
          if (allow) expect(speaking.length).toBeGreaterThan(0);
          // A pattern is listed without a reserve only if all that it stands for may call.
          else expect(speaking.filter((each) => each.exceptForSome.length === 0)).toEqual([]);
        }
      }
  }
});

describe('a graph', () => {
  const { callers } = reachOf(
    [server('git'), access('a', ['a/**'], { allow: ['/get"(x|y)/'], deny: ['z'] })],
    { server: 'git' },
    NOW,
  );

  test('in Mermaid has labels that Mermaid reads as text', () => {
    expect(graphOf(callers, 'mermaid')).toBe(
      [
        'flowchart LR',
        '  n0["spiffe://td/a/**"]',
        '  n1["git"]',
        '  n0 -->|"/get#34;(x#124;y)/ (not z)"| n1',
        '',
      ].join('\n'),
    );
  });

  test('in DOT has quoted labels', () => {
    expect(graphOf(callers, 'dot')).toBe(
      [
        'digraph reach {',
        '  rankdir=LR;',
        '  n0 [label="spiffe://td/a/**", shape=ellipse];',
        '  n1 [label="git", shape=box];',
        '  n0 -> n1 [label="/get\\"(x|y)/ (not z)"];',
        '}',
        '',
      ].join('\n'),
    );
  });
});
