/** Attacks on rules with conditions and classes of tools: by arguments, by size, by the era, and in between. */

import { toolNamed } from '@chancery/shared/policy/call.ts';
import { decide } from '@chancery/shared/policy/decide.ts';
import { compilePolicy, type Policy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import type { Attested } from '@chancery/shared/spiffe/attested.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  callerOf,
  INITIALIZE,
  MODERN_META,
  modernHeaders,
  rpc,
  startPlayed,
  stopPlayed,
} from '../../kit/mcp/clients/caller.ts';
import { holdCalls, openCall } from '../../kit/mcp/clients/open-calls.ts';
import { type FakeServer, politely, reply, TOOLS_LISTED } from '../../kit/mcp/servers/server.ts';
import { TOOLS, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

let server: FakeServer;
let world: World;
let version = 10n;
const caller = callerOf(() => world);

beforeAll(async () => {
  ({ server, world } = await startPlayed());
});
afterAll(() => stopPlayed(world, server));
beforeEach(() => {
  server.seen.length = 0;
  server.say = politely;
  world.events.length = 0;
});

/** One rule for TRIAGE at the server of the world. */
function policyOf(rule: object, ofServer: object = {}): Policy {
  const address = `127.0.0.1:${world.gateway.port}`;
  const everything = { kind: 'McpServer', name: 'everything', identity: TOOLS, address, ...ofServer };
  const access = { kind: 'Access', name: 'rule', who: [TRIAGE], servers: ['everything'], ...rule };
  version += 1n;
  return compilePolicy([McpServer.parse(everything), Access.parse(access)], version);
}
const publish = (rule: object, ofServer?: object): void => world.policy.publish(policyOf(rule, ofServer));
const when = (text: string, more: object = {}) => ({ tools: { allow: ['echo'] }, when: text, ...more });

const ERAS = ['legacy', 'modern'] as const;
type Era = (typeof ERAS)[number];

/** A call whose arguments are this text, as it stands. */
function calling(era: Era, args: string, tool = 'echo') {
  const meta = era === 'modern' ? `,"_meta":${JSON.stringify(MODERN_META)}` : '';
  const params = `{"name":"${tool}","arguments":${args}${meta}}`;
  const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`;
  return caller.post(body, era === 'modern' ? modernHeaders('tools/call', tool) : {});
}

/** What the last denial said. */
let told: Readonly<Record<string, unknown>> | undefined;

/** What the server was sent of it; undefined if the call was denied. */
async function forwarded(era: Era, args: string, tool?: string): Promise<string | undefined> {
  server.seen.length = 0;
  const { status, json } = await calling(era, args, tool);
  expect(status).toBe(200);
  const [seen] = server.seen;
  told = json.error?.data;
  expect(json.error?.code).toBe(seen === undefined ? -31403 : undefined);
  return seen && /"arguments":(.*?)(?:,"_meta"|\}\}$)/.exec(seen.text)?.[1];
}

describe.each(ERAS)('in the %s era', (era) => {
  test.each([
    ['throws', 'args.owner.size() > 1', '{"owner":1}', 'found no matching overload'],
    ['throws of a number', 'args.n + 1 > 2', '{"n":2}', 'found no matching overload'],
    ['is not a boolean', 'args.owner', '{"owner":"acme"}', 'is neither true nor false'],
    ['misses an argument', 'args.owner == "acme"', '{}', 'field not found: owner'],
    ['misses all arguments', 'args.owner == "acme"', 'null', 'field not found: owner'],
    ['is not met', 'args.owner == "acme"', '{"owner":"evil"}', 'is not met'],
  ])(
    'M111 a rule whose condition %s allows nothing, and the denial says why',
    async (_, text, args, says) => {
      publish(when(text));
      expect(await forwarded(era, args)).toBeUndefined();
      expect(told?.['reason']).toMatch(new RegExp(`; the condition of rule .*${says}`));
    },
  );

  test.each([
    ['throws', 'args.owner.size() > 1', '{"owner":1}'],
    ['misses an argument', 'args.owner == "acme"', '{}'],
    ['is not a boolean', 'args.owner', '{"owner":"acme"}'],
    ['cannot be known', 'args.owner == "acme"', `{"owner":"${'x'.repeat(70_000)}"}`],
  ])('M112 a deny whose condition %s denies', async (_, text, args) => {
    const allow = Access.parse({
      ...{ kind: 'Access', name: 'all', who: [TRIAGE], servers: ['everything'], tools: { allow: ['*'] } },
    });
    const { servers } = policyOf(when(text));
    const deny = Access.parse({
      ...{ kind: 'Access', name: 'no', who: [TRIAGE], servers: ['everything'] },
      ...when(text, { tools: { deny: ['echo'] } }),
    });
    version += 1n;
    world.policy.publish(compilePolicy([...servers.values(), allow, deny], version));
    expect(await forwarded(era, args)).toBeUndefined();
    expect(told).toMatchObject({ rule: 'no' });
  });

  test.each([
    ['args.n == 1', '{"n":1.0}', true],
    ['args.n == 1', '{"n":1.00000000000000000001}', false],
    ['args.id == 9007199254740993', '{"id":9007199254740993}', true],
    ['args.id == 9007199254740993', '{"id":9007199254740992}', false],
    ['args.id < 9007199254740993', '{"id":9007199254740993.0}', false],
    ['args.id != 1', '{"id":18446744073709551616}', false],
    ['args.id > 0', '{"id":1e400}', false],
    ['args.id > 0', '{"id":9223372036854775809}', false],
    ['args.id < 0', '{"id":-9223372036854775809}', false],
    ['args.id < 0', '{"id":-9223372036854775808}', true],
  ])('M113 numbers are compared as they were written: %s of %s', async (text, args, allowed) => {
    publish(when(text));
    expect(await forwarded(era, args)).toBe(allowed ? args : undefined);
  });

  test.each([
    ['args.owner == "acme"', '{"owner":{"$typeName":"google.protobuf.StringValue","value":"acme"}}'],
    ['has(args.constructor)', '{}'],
    ['"__proto__" in args', '{}'],
    ['args["__proto__"].admin', '{}'],
    ['!has(args.force)', '{"force":null}'],
    ['!("force" in args)', '{"force":null}'],
    ['!has(args.__proto__)', '{"__proto__":{"x":1}}'],
  ])('M115 names of JavaScript and protobuf mean nothing: %s of %s is not met', async (text, args) => {
    publish(when(text));
    expect(await forwarded(era, args)).toBeUndefined();
  });

  test('M117 a tool is of a class by its McpServer only', async () => {
    const annotations = { readOnlyHint: true, action: 'read' };
    const tools = TOOLS_LISTED.map((name) => ({ name, inputSchema: {}, annotations }));
    server.say = (seen, res, req) =>
      seen.json?.method === 'tools/list'
        ? reply(res, { jsonrpc: '2.0', id: seen.json.id, result: { tools } })
        : politely(seen, res, req);
    publish(
      { tools: { allowActions: ['read'] } },
      { tools: { 'get-*': { action: 'read' }, 'get-env': { action: 'admin' } } },
    );
    const list =
      era === 'modern'
        ? await caller.post(rpc('tools/list', { _meta: MODERN_META }, 1), modernHeaders('tools/list'))
        : await caller.post(rpc('tools/list', {}, 1));
    expect(list.json.result.tools.map(({ name }) => name)).toEqual(['get-sum']);
    for (const tool of ['echo', 'get-env', 'new-tool'])
      expect(await forwarded(era, '{}', tool)).toBeUndefined();
    expect(await forwarded(era, '{}', 'get-sum')).toBe('{}');
  });

  test('M118 what a list shows is decided again at the call, by the policy of then', async () => {
    publish(when('args.owner == "acme"'));
    const listed = async () => {
      const answer =
        era === 'modern'
          ? await caller.post(rpc('tools/list', { _meta: MODERN_META }, 1), modernHeaders('tools/list'))
          : await caller.post(rpc('tools/list', {}, 1));
      return answer.json.result.tools.map(({ name }) => name);
    };
    expect(await listed()).toEqual(['echo']);
    expect(await forwarded(era, '{"owner":"acme"}')).toBe('{"owner":"acme"}');
    publish(when('args.owner == "other"'));
    expect(await forwarded(era, '{"owner":"acme"}')).toBeUndefined();
    publish(when('source == "203.0.113.1" && args.owner == "acme"'));
    expect(await listed()).toEqual([]);
  });
});

test.each([
  ['caller.id.endsWith("agents/triage")', true],
  ['caller.certificateAge < duration("1h")', true],
  ['caller.certificateAge < duration("1s")', false],
  ['source == "127.0.0.1"', true],
  ['source.startsWith("10.")', false],
  ['server == "everything" && tool == "echo"', true],
  ['now > timestamp("2026-01-01T00:00:00Z")', true],
  ['now > timestamp("2126-01-01T00:00:00Z")', false],
])('M119 what no client can choose decides: %s', async (text, allowed) => {
  publish(when(text));
  expect(await forwarded('legacy', '{}')).toBe(allowed ? '{}' : undefined);
});

describe('M197 what the caller’s certificate says is decided by', () => {
  const attributes = new Map([['aws.account', '42']]);
  const by = 'caller.attributes.aws.account == "42" && caller.platform == "aws"';
  const genuine = { platform: 'aws', attributes };
  test.each<[string, Attested | undefined, string, boolean]>([
    ['that has it', genuine, by, true],
    ['of another platform', { ...genuine, platform: 'oidc/aws' }, by, false],
    ['that says nothing', undefined, by, false],
    [
      'that does not say it, for an attribute that is not that',
      genuine,
      'caller.attributes.aws.region != "x"',
      false,
    ],
    ['that does not say it, for one that is not there', genuine, '!has(caller.attributes.aws.region)', true],
  ])('by a certificate %s', async (_, attested, text, allowed) => {
    publish(when(text));
    const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}}`;
    const { json } = await caller.post(body, {}, world.td.svid(TRIAGE, 3600, attested));
    expect(json.error?.code).toBe(allowed ? undefined : -31403);
    expect(server.seen).toHaveLength(allowed ? 1 : 0);
  });

  test('in lists, too', async () => {
    publish(when(by));
    const shown = async (platform: string) => {
      const svid = world.td.svid(TRIAGE, 3600, { platform, attributes });
      const { json } = await caller.post(rpc('tools/list', {}, 1), {}, svid);
      return json.result?.tools.map(({ name }) => name);
    };
    expect(await shown('aws')).toEqual(['echo']);
    expect(await shown('tpm')).toEqual([]);
  });

  test('and by nothing that the client says', async () => {
    publish(when(by));
    const said = '"attributes":{"aws":{"account":"42"}},"platform":"aws"';
    const params = `{"name":"echo","arguments":{${said}},"_meta":{${said}},"caller":{${said}}}`;
    const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`;
    await caller.post(body);
    expect(server.seen).toEqual([]);
  });
});

describe('M114 the work of one condition is bounded', () => {
  const within = (ms: number, ask: () => unknown): void => {
    const started = process.cpuUsage();
    expect(ask()).toBe(false);
    const { user, system } = process.cpuUsage(started);
    expect((user + system) / 1000).toBeLessThan(ms);
  };
  const allows = (text: string, args: object): boolean => {
    const call = { caller: TRIAGE, server: 'everything', what: toolNamed('echo'), arguments: args as never };
    return decide(policyOf(when(text)), call).allow;
  };
  const a = 'a'.repeat(60_000);
  const many = Array.from({ length: 1_900 }, (_, n) => `item ${n}`);

  test.each<[string, string, object]>([
    ['a regex that backtracks', 'args.t.matches("^(a+)+$") && false', { t: `${a}!` }],
    ['a large regex', 'args.t.matches("(a?){60}a{60}b")', { t: a }],
    [
      'a regex for each item',
      'args.l.exists(x, args.t.matches("^[a-z]+[0-9]$"))',
      { l: many.slice(0, 900), t: a.slice(0, 40_000) },
    ],
    [
      'a text in a text for each item',
      'args.l.exists(x, args.t.contains(args.p))',
      { l: many.slice(0, 900), t: a.slice(0, 30_000), p: `${a.slice(0, 7_500)}b${a.slice(0, 7_500)}` },
    ],
    [
      'a text for each item',
      'args.l.all(x, !args.t.contains(x)) && false',
      { l: many, t: a.slice(0, 30_000) },
    ],
    ['a list for each item', 'args.l.all(x, x in args.l) && false', { l: many }],
    [
      'a growing text',
      'args.l.all(x, size(args.t + args.t + args.t) > 0) && false',
      { l: many, t: a.slice(0, 30_000) },
    ],
    ['a list that is built', '"x" in args.l.map(x, x + "y")', { l: many }],
    ['lists compared', 'args.l.all(x, args.l == args.l) && false', { l: many }],
    ['16 MiB of arguments', 'args.t == "a"', { t: 'a'.repeat(16 * 1024 * 1024) }],
    ['many values', 'args.l.all(x, x == 1)', { l: Array.from({ length: 1_000_000 }, () => 1) }],
  ])('%s', (_, text, args) => {
    allows('args.warm == 1', {});
    within(500, () => allows(text, args));
  });

  test.each([
    ['a macro inside a macro', 'args.l.all(x, args.l.exists(y, x == y))', /column \d+: a macro .* is inside/],
    ['a macro behind a macro', 'args.l.map(x, [x, x]).all(y, true)', /is inside or behind another/],
    ['a regex of the caller', 'args.t.matches(args.p)', /must be written out/],
    ['a regex that is too large', 'args.t.matches("(x{100}){10}")', /at most 1000/],
    ['a long condition', `args.t == "${'x'.repeat(1_100)}"`, /longer than 1024 characters/],
    ['a large condition', Array.from({ length: 250 }, () => '!1').join('||'), /more than 200 parts/],
  ])('%s is refused when the policy is read', (_, text, says) => {
    expect(() => policyOf(when(text))).toThrow(says);
  });
});

describe('M116 a condition on what its calls may lack', () => {
  test.each([
    ['a name that there is not', 'user == "root"', /column 1: there is no user in a condition/],
    ['a field that there is not', 'caller.labels.team == "a"', /there is no caller.labels in a condition/],
    ['a session in either era', 'session.id != ""', /McpServer\/everything needs era: legacy/],
  ])('%s is refused when the policy is read', (_, text, says) => {
    expect(() => policyOf(when(text))).toThrow(says);
  });

  test.each([
    ['arguments', 'args.a == 1', /args is known of calls of tools only: write prompts in a rule/],
    ['the tool', 'tool == "a"', /tool is known of calls of tools only/],
  ])('%s are refused in a rule for prompts, too', (_, text, says) => {
    expect(() => policyOf(when(text, { prompts: { allow: ['*'] } }))).toThrow(says);
    expect(() => policyOf(when('caller.id != ""', { prompts: { allow: ['*'] } }))).not.toThrow();
  });

  test('a session is of the legacy era, and the gateway refuses messages of the other', async () => {
    publish(when('session.id != "" && args.owner == "acme"'), { era: 'legacy' });
    expect(await forwarded('legacy', '{"owner":"acme"}')).toBeUndefined();
    const session = await caller.begin();
    const call = rpc('tools/call', { name: 'echo', arguments: { owner: 'acme' } }, 2);
    expect((await caller.post(call, session)).json.result.content[0].text).toBe('echo');
    server.seen.length = 0;
    const refused = await calling('modern', '{"owner":"acme"}');
    expect([refused.status, refused.json.error.code]).toEqual([400, -32022]);
    expect(refused.json.error.data['supported']).toContain('2025-11-25');
    expect(refused.json.error.data['supported']).not.toContain('2026-07-28');
    expect(server.seen).toEqual([]);
    expect(world.events.at(-1)).toMatchObject({ code: 'mcp_version' });
    expect((await caller.post(INITIALIZE)).status).toBe(200);
  });
});

test.each([
  ['goes on where its arguments, which are not kept, would decide', '127.0.0.1', 200],
  ['ends where what is still known decides', '203.0.113.1', 'cut'],
])('M120 under a new condition an open call %s', async (_, source, outcome) => {
  publish(when('size(args) == 0'));
  const held = holdCalls(server);
  const open = await openCall(world, world.td.svid(TRIAGE));
  await expect.poll(() => held.open).toBe(1);
  publish(when(`size(args) == 5 && source == "${source}"`));
  held.answerAll();
  expect(await open.outcome).toBe(outcome);
});
