/** Attacks on the two ways to let pass what rules do not: a server that observes, and a rule that allows everything. */
import { type Log, silentLog } from '@chancery/shared/ground/log.ts';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import type { Revocation } from '@chancery/shared/revocation/revocation.ts';
import { revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Answer, ask } from '../../kit/mcp/clients/ask.ts';
import {
  INITIALIZE,
  MODERN_META,
  modernHeaders,
  rpc,
  startPlayed,
  stopPlayed,
} from '../../kit/mcp/clients/caller.ts';
import { type FakeServer, politely, reply, TOOLS_LISTED } from '../../kit/mcp/servers/server.ts';
import { windowClock } from '../../kit/mcp/world/windows.ts';
import { revoked, STRANGER, TOOLS, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

let server: FakeServer;
let world: World;
let version = 10n;
let aheadMs = 0;
const windows = windowClock();
const clock = { ...windows.clock, now: () => new Date(windows.clock.now().getTime() + aheadMs) };
const warnings: object[] = [];
const log: Log = { ...silentLog, warn: (fields) => void warnings.push(fields) };

beforeAll(async () => {
  ({ server, world } = await startPlayed({ clock, log }));
});
afterAll(() => stopPlayed(world, server));
beforeEach(async () => {
  aheadMs = 0;
  await windows.endWindow();
  await windows.endWindow();
  server.say = politely;
  server.seen.length = 0;
  world.events.length = 0;
  warnings.length = 0;
});

const MINUTE = 60_000;
const inMinutes = (minutes: number): string =>
  new Date(clock.now().getTime() + minutes * MINUTE).toISOString();

/** One server, and rules for TRIAGE there. */
function publish(rules: readonly object[], ofServer: object = {}): void {
  const address = `127.0.0.1:${world.gateway.port}`;
  const everything = { kind: 'McpServer', name: 'everything', identity: TOOLS, address, ...ofServer };
  const access = rules.map((rule, index) =>
    Access.parse({ kind: 'Access', name: `rule-${index}`, who: [TRIAGE], servers: ['everything'], ...rule }),
  );
  version += 1n;
  world.policy.publish(compilePolicy([McpServer.parse(everything), ...access], version));
}
const observe = (minutes = 10) => ({ observe: { until: inMinutes(minutes) } });
const FEW = { tools: { allow: ['echo'], deny: ['get-env'] }, prompts: { allow: ['greet'] } };

const ZWSP = `=?base64?${Buffer.from('echo\u200b').toString('base64')}?=`;
const DOTS = 'file:///a/%2e%2e/b';

const ERAS = ['legacy', 'modern'] as const;
type Era = (typeof ERAS)[number];

function asked(era: Era, method: string, params: object = {}, name?: string, as = TRIAGE): Promise<Answer> {
  const svid = world.td.svid(as, 80_000);
  if (era === 'legacy') return ask(world, svid, { body: rpc(method, params, 1) });
  const body = rpc(method, { ...params, _meta: MODERN_META }, 1);
  return ask(world, svid, { body, headers: modernHeaders(method, name) });
}
const calling = (era: Era, tool: string, as = TRIAGE) =>
  asked(era, 'tools/call', { name: tool, arguments: {} }, tool, as);

const namesIn = ({ result }: Answer['json']): unknown => result?.tools.map(({ name }) => name);

const decided = () => world.events.filter(({ stage }) => stage === 'decided');

describe.each(ERAS)('in the %s era', (era) => {
  const USES: [string, object, string | undefined, string | undefined][] = [
    ['tools/call', { name: 'get-env', arguments: {} }, 'get-env', 'rule-0'],
    ['tools/call', { name: 'unheard-of', arguments: {} }, 'unheard-of', undefined],
    ['resources/read', { uri: 'file:///srv/a' }, 'file:///srv/a', undefined],
    ['prompts/get', { name: 'plan' }, 'plan', undefined],
    ['resources/list', {}, undefined, undefined],
    [
      'completion/complete',
      { ref: { type: 'ref/prompt', name: 'plan' }, argument: { name: 'a', value: 'b' } },
      undefined,
      undefined,
    ],
  ];
  test.each(USES)(
    'M183 %s that rules deny passes while the server observes',
    async (method, params, name, rule) => {
      server.say = ({ json }, res) => reply(res, { jsonrpc: '2.0', id: json.id, result: {} });
      publish([FEW], observe());
      await asked(era, method, params, name);
      expect(server.seen.map(({ json }) => json.method)).toEqual([method]);
      expect(decided()).toMatchObject([
        { allow: true, observed: true, reason: /^McpServer.everything observes until/ },
      ]);
      expect(decided()[0]?.rule).toBe(rule);
      expect(warnings).toMatchObject([{ server: 'everything', count: 1 }]);
      // The same without it.
      publish([FEW]);
      server.seen.length = 0;
      expect((await asked(era, method, params, name)).json.error?.code).toBe(-31403);
      expect(server.seen).toEqual([]);
    },
  );

  test('M183 what a rule allows is no observation, and lists are whole', async () => {
    publish([FEW], observe());
    await calling(era, 'echo');
    expect(decided()).toMatchObject([{ allow: true, rule: 'rule-0' }]);
    expect(decided()[0]).not.toHaveProperty('observed');
    expect(warnings).toEqual([]);
    const { json } = await asked(era, 'tools/list');
    expect(namesIn(json)).toEqual(TOOLS_LISTED);
  });

  test('M183 many observations are counted in one line of the log in a minute', async () => {
    publish([FEW], observe());
    await calling(era, 'get-env');
    const first = warnings.length;
    for (let n = 0; n < 5; n += 1) await calling(era, 'get-env');
    expect(warnings).toHaveLength(first);
    aheadMs = MINUTE;
    await calling(era, 'get-env');
    expect(warnings.slice(first)).toMatchObject([{ count: 6 }]);
    expect(decided().filter(({ observed }) => observed === true)).toHaveLength(7);
  });

  test('M184 observe is off at its end by the clock of the gateway, with no new policy', async () => {
    publish([FEW], observe(10));
    aheadMs = 10 * MINUTE - 1_000;
    expect((await calling(era, 'get-env')).json.error).toBeUndefined();
    for (const minutes of [10, 11, 60 * 10]) {
      aheadMs = minutes * MINUTE;
      const { json } = await calling(era, 'get-env');
      expect(json.error).toMatchObject({ code: -31403, data: { rule: 'rule-0' } });
    }
    const { json } = await asked(era, 'tools/list');
    expect(namesIn(json)).toEqual(['echo']);
  });

  test('M185 a caller of no rule is not let in where the server observes', async () => {
    publish([FEW], observe());
    expect((await calling(era, 'echo', STRANGER)).status).toBe(403);
    // A rule that only denies lets nobody in.
    publish([{ tools: { deny: ['get-env'] } }], observe());
    expect((await calling(era, 'echo')).status).toBe(403);
    expect(server.seen).toEqual([]);
  });

  test('M185 a revoked caller is refused where the server observes', async () => {
    publish([FEW], observe());
    world.revocations.publish(revoked('id', TRIAGE));
    const status = await calling(era, 'get-env').then(
      (answer) => answer.status,
      () => 401,
    );
    world.revocations.publish(revocationSet<Revocation>([], 0n));
    expect(status).toBe(401);
    expect(server.seen).toEqual([]);
  });

  test.each([
    ['a tool whose name no rule can allow', 'tools/call', { name: 'echo\u200b', arguments: {} }, ZWSP, 200],
    ['a URI that no rule can allow', 'resources/read', { uri: DOTS }, DOTS, 200],
    ['what no kind of rule covers', 'server/unheard-of', {}, undefined, era === 'legacy' ? 200 : 404],
    ['arguments that are none', 'tools/call', { name: 'get-env', arguments: [] }, 'get-env', 400],
  ])('M185 %s is refused where the server observes', async (_, method, params, name, status) => {
    publish([FEW], observe());
    const answer = await asked(era, method, params, name);
    expect(answer.status).toBe(status);
    expect(answer.json.error).toBeDefined();
    expect(server.seen).toEqual([]);
  });

  test('M188 everything allows every kind, and a deny of any rule still denies', async () => {
    server.say = ({ json }, res) => reply(res, { jsonrpc: '2.0', id: json.id, result: {} });
    publish([
      { everything: { until: inMinutes(10) } },
      { tools: { deny: ['get-env'] }, prompts: { deny: ['plan'] } },
    ]);
    for (const [method, params, name] of USES) await asked(era, method, params, name);
    const passed = server.seen.map(({ json: { method, params } }) => [
      method,
      params['name'] ?? Reflect.get(params, 'uri'),
    ]);
    expect(passed).toEqual([
      ['tools/call', 'unheard-of'],
      ['resources/read', 'file:///srv/a'],
      ['resources/list', undefined],
    ]);
    expect(decided()[1]).toMatchObject({ allow: true, rule: 'rule-0', reason: /: everything until / });
    expect(decided().every(({ observed }) => observed === undefined)).toBe(true);
  });

  test('M188 everything is off at its end by the clock of the gateway, with no new policy', async () => {
    publish([{ everything: { until: inMinutes(10) } }]);
    expect((await calling(era, 'echo')).json.error).toBeUndefined();
    aheadMs = 10 * MINUTE;
    expect((await calling(era, 'echo')).json.error?.code).toBe(-31403);
    expect((await asked(era, 'tools/list')).json.result).toMatchObject({ tools: [] });
  });

  test('M188 a condition narrows everything as it narrows other allows', async () => {
    publish([{ everything: { until: inMinutes(10) }, when: 'source == "192.0.2.1"' }]);
    expect((await calling(era, 'echo')).json.error?.code).toBe(-31403);
    publish([{ everything: { until: inMinutes(10) }, when: 'source == "127.0.0.1"' }]);
    expect((await calling(era, 'echo')).json.error).toBeUndefined();
  });
});

test('M183 a server that observes offers its client prompts and resources, too', async () => {
  const capabilities = { tools: {}, prompts: {}, resources: {} };
  server.say = ({ json }, res) => {
    const serverInfo = { name: 'x', version: '1' };
    reply(res, {
      jsonrpc: '2.0',
      id: json.id,
      result: { protocolVersion: '2025-11-25', capabilities, serverInfo },
    });
  };
  const offered = async () => {
    const { json } = await ask(world, world.td.svid(TRIAGE, 80_000), { body: INITIALIZE });
    return Object.keys(Object(json.result?.['capabilities']));
  };
  publish([{ tools: { allow: ['echo'] } }], observe());
  expect(await offered()).toEqual(['tools', 'resources', 'prompts']);
  publish([{ tools: { allow: ['echo'] } }]);
  expect(await offered()).toEqual(['tools']);
});
