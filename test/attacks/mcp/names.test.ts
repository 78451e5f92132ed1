/** Names of tools that a caller may not call: in another spelling, or outside the list. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ask } from '../../kit/mcp/clients/ask.ts';
import { MODERN_META, rpc, startPlayed, stopPlayed } from '../../kit/mcp/clients/caller.ts';
import { type FakeServer, politely, reply, stream } from '../../kit/mcp/servers/server.ts';
import { startWorld, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

let server: FakeServer;
let world: World;
const TOOLS = { allow: ['*'], deny: ['get-env'] };
beforeEach(async () => {
  ({ server, world } = await startPlayed({ tools: TOOLS }));
});
afterEach(() => stopPlayed(world, server));

const post = (method: string, params: object = {}, headers: Record<string, string> = {}, to = world) =>
  ask(to, to.td.svid(TRIAGE), { body: rpc(method, params, 1), headers });
const modern = (method: string, version = '2026-07-28') =>
  post(method, { _meta: MODERN_META }, { 'mcp-protocol-version': version, 'mcp-method': method });

test.each([
  ['get-env '],
  [' get-env'],
  ['get-env\t'],
  ['get-env\u200b'],
  ['get\u00ad-env'],
  ['get-env\ufe0f'],
  ['\u202eget-env'],
  ['get-env\u{e0020}'],
  ['get-env\u0085'],
  ['get-env\u00a0'],
  ['get-env\u3164'],
  ['\uff47et-env'],
  ['get\u2010env\u2060'],
  ['cafe\u0301'],
])('M45 no rule can allow the tool %j, which a server could take for another', async (name) => {
  const { json } = await post('tools/call', { name, arguments: {} });
  expect(json.error).toMatchObject({
    code: -31403,
    data: { reason: expect.stringMatching(/cannot be seen/) },
  });
  expect(server.seen).toEqual([]);
});

test.each(['echo', 'a.b_c-D9', 'server/tool', 'my tool', 'caf\u00e9', '\u5de5\u5177'])(
  'the tool %j is a tool like others',
  async (name) => {
    expect((await post('tools/call', { name, arguments: {} })).json.result.content[0].text).toBe(name);
  },
);

describe('M46 what a server says beside the list', () => {
  const HIDDEN = 'get-env';
  const says = (result: object) => {
    server.say = ({ json }, res) => reply(res, { jsonrpc: '2.0', id: json.id, result });
  };
  test.each([
    [
      'tools/list',
      { tools: [{ name: 'echo', inputSchema: {}, see: HIDDEN }, { name: HIDDEN }], all: [HIDDEN] },
    ],
    ['tools/list', { tools: [], _meta: { all: HIDDEN } }],
    [
      'initialize',
      { protocolVersion: '2025-11-25', capabilities: { tools: {}, experimental: { [HIDDEN]: {} } } },
    ],
    [
      'initialize',
      { protocolVersion: '2025-11-25', capabilities: {}, _meta: { all: HIDDEN }, tools: [HIDDEN] },
    ],
    ['ping', { tools: [HIDDEN] }],
  ])('is not passed on in %s', async (method, result) => {
    says(result);
    const { text, json } = await post(method);
    expect(json.result).toBeDefined();
    expect(text).not.toContain(HIDDEN);
  });

  test('is not passed on in the data of an error', async () => {
    server.say = ({ json }, res) =>
      reply(res, {
        jsonrpc: '2.0',
        id: json.id,
        error: { code: -32602, message: 'no', data: { all: HIDDEN } },
      });
    expect((await post('tools/list')).text).not.toContain(HIDDEN);
  });

  test('is its to say in instructions and log messages, unless the gateway says otherwise', async () => {
    const log = { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: HIDDEN } };
    const result = {
      protocolVersion: '2025-11-25',
      capabilities: { tools: {}, logging: {} },
      instructions: HIDDEN,
    };
    server.say = ({ json }, res) => stream(res, [log, { jsonrpc: '2.0', id: json.id, result }]);
    const shown = await post('initialize');
    expect(shown.text.match(/get-env/g)).toHaveLength(2);
    // The gateway itself tells of a rule's change.
    expect(shown.json.result.capabilities).toEqual({ tools: { listChanged: true }, logging: {} });

    const freeText = { instructions: false, logs: false };
    const silent = await startWorld(server.target, { tools: TOOLS, freeText });
    const { text, json } = await post('initialize', {}, {}, silent);
    expect(text).not.toContain(HIDDEN);
    expect(json.result.capabilities).toEqual({ tools: { listChanged: true } });
    expect((await post('logging/setLevel', { level: 'info' }, {}, silent)).json.error.code).toBe(-31403);
    await silent.close();
  });
});

describe('codes', () => {
  test('a request that the modern era does not have is answered as the revision has it', async () => {
    for (const method of ['logging/setLevel', 'resources/subscribe', 'nonsense', 'ping']) {
      const { status, json } = await modern(method);
      expect([status, json.error.code]).toEqual([404, -32601]);
      const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': method };
      const bare = await post(method, {}, headers);
      expect([bare.status, bare.json.error.code]).toEqual([404, -32601]);
    }
    expect((await modern('resources/list')).json.error.code).toBe(-31403);
    expect(server.seen).toEqual([]);
  });

  test.each(['2025-11-25', '2099-01-01'])(
    'a header of version %s beside another in the body',
    async (version) => {
      const { status, json } = await modern('tools/list', version);
      expect([status, json.error.code]).toEqual([400, -32020]);
    },
  );

  test('the level of log messages may be set where they may come', async () => {
    server.say = politely;
    expect((await post('logging/setLevel', { level: 'info' })).json.result).toEqual({});
  });

  test('arguments that are null are forwarded as none', async () => {
    await post('tools/call', { name: 'echo', arguments: null });
    expect(server.seen[0]?.json.params).toEqual({ name: 'echo', arguments: {} });
  });
});
