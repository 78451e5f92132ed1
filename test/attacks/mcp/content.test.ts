/** Resources, prompts and completions at the gateway, in both eras: what no rule lets pass, in any spelling. */
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Answer, ask } from '../../kit/mcp/clients/ask.ts';
import { MODERN_META, modernHeaders, rpc, startPlayed, stopPlayed } from '../../kit/mcp/clients/caller.ts';
import { type FakeServer, politely, reply, stream } from '../../kit/mcp/servers/server.ts';
import { windowClock } from '../../kit/mcp/world/windows.ts';
import { TOOLS, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

let server: FakeServer;
let world: World;
let version = 10n;
/** Each test has a window of its own, so that nothing is folded into what another test was denied. */
const windows = windowClock();

/** What TRIAGE may do from now on. */
function allow(blocks: object): void {
  const address = `127.0.0.1:${world.gateway.port}`;
  const where = McpServer.parse({ kind: 'McpServer', name: 'everything', identity: TOOLS, address });
  const rule = { kind: 'Access', name: 'triage', who: [TRIAGE], servers: ['everything'], ...blocks };
  version += 1n;
  world.policy.publish(compilePolicy([where, Access.parse(rule)], version));
}

const BLOCKS = {
  tools: { allow: ['*'] },
  resources: {
    allow: ['file:///srv/*', 'https://*', 'repo://{owner}/{name}'],
    deny: ['*secret*', 'file:///srv/closed/*', 'file:///srv/@p/*'],
  },
  prompts: { allow: ['greet', 'plan_*'], deny: ['plan_secret'] },
  completion: { allow: ['*'] },
};

beforeAll(async () => {
  ({ server, world } = await startPlayed({ clock: windows.clock }));
});
afterAll(() => stopPlayed(world, server));
beforeEach(async () => {
  await windows.endWindow();
  await windows.endWindow();
  allow(BLOCKS);
  server.say = politely;
  server.seen.length = 0;
  world.events.length = 0;
});

type Era = 'legacy' | 'modern';
const ERAS: readonly Era[] = ['legacy', 'modern'];

/** Asks in both eras. */
async function both(method: string, params: object, name?: string): Promise<readonly Answer[]> {
  const answers: Answer[] = [];
  for (const era of ERAS) answers.push(await asked(era, method, params, name));
  return answers;
}

function asked(era: Era, method: string, params: object, name?: string): Promise<Answer> {
  const svid = world.td.svid(TRIAGE, 80_000);
  if (era === 'legacy') return ask(world, svid, { body: rpc(method, params, 1) });
  const body = rpc(method, { ...params, _meta: MODERN_META }, 1);
  const header = name === undefined ? undefined : encoded(name);
  return ask(world, svid, { body, headers: modernHeaders(method, header) });
}

const encoded = (name: string): string =>
  /^[!-~](?:[ -~]*[!-~])?$/.test(name) ? name : `=?base64?${Buffer.from(name).toString('base64')}?=`;

/** The server answers every request with this. */
function says(result: object): void {
  server.say = ({ json }, res) => reply(res, { jsonrpc: '2.0', id: json.id, result });
}

const DENIED = -31403;
const argument = { name: 'a', value: 'b' };
const ofPrompt = (name: string) => ({ ref: { type: 'ref/prompt', name }, argument });
const ofTemplate = (uri: string) => ({ ref: { type: 'ref/resource', uri }, argument });

describe('a resource', () => {
  test.each(['file:///srv/a', 'https://prod.example:8443/a?b', 'repo://acme/x'])(
    '%s is read',
    async (uri) => {
      says({ contents: [{ uri, text: 'hi' }] });
      for (const { json } of await both('resources/read', { uri }, uri))
        expect(json.result).toMatchObject({ contents: [{ uri, text: 'hi' }] });
      expect(server.seen.map(({ json }) => json.params)).toMatchObject([{ uri }, { uri }]);
    },
  );

  test.each([
    ['file:///srv/../etc/passwd'],
    ['file:///srv/./a'],
    ['file:///srv/%2E%2E/etc/passwd'],
    ['file:///srv/%2e%2e/etc/passwd'],
    ['file:///srv/..%2Fetc'],
    ['file:///srv/..%5Cetc'],
    ['file:///srv/%252E%252E/etc'],
    ['file:///srv//a'],
    ['file:/srv/a'],
    ['file://localhost/srv/a'],
    ['FILE:///srv/a'],
    ['file:///srv/%73ecret'],
    ['file:///srv/a#b'],
    ['file:///srv/a\\..\\b'],
    ['file:///srv/a b'],
    ['file:///srv/caf\u00e9'],
    ['https://PROD.example/a'],
    ['https://prod.example:443/a'],
    ['https://prod.example:/a'],
    ['https://prod.example./a'],
    ['https://me@prod.example/a'],
    ['https://prod.example@evil.example/a'],
    ['https://b\u00fccher.example/a'],
    ['https://prod.example'],
    ['https://127.1/a'],
    ['https://[::0]/a'],
    ['file:///srv/%C0%AE%C0%AE/etc'],
    ['repo://acme/x/y'],
    ['repo://acme/../x'],
    ['/srv/a'],
    ['file:///srv/secret'],
    ['file:///srv/closed%2Fkey'],
    ['file:///srv/closed%5Ckey'],
    ['file:///srv/%40p/key'],
    ['file:///srv/a?'],
    ['file:///srv/a?b'],
    ['repo://acme/x%2Fy'],
    ['https://127.1/a'],
    ['https://0x7f000001/a'],
    ['https://[0:0:0:0:0:0:0:1]/a'],
    [`file:///srv/${'a'.repeat(2_048)}`],
  ])('M121 %s is not read: it could be another one at the server, or a rule denies it', async (uri) => {
    for (const { status, json } of await both('resources/read', { uri }, uri)) {
      expect(status).toBe(200);
      expect(json.error.code).toBe(DENIED);
    }
    expect(server.seen).toEqual([]);
  });

  test('M122 a template that expands out of its rule is shown, and what it expands to is decided', async () => {
    says({ resourceTemplates: [{ uriTemplate: 'file:///{+path}', name: 'all' }] });
    for (const { json } of await both('resources/templates/list', {}))
      expect(json.result).toMatchObject({ resourceTemplates: [{ uriTemplate: 'file:///{+path}' }] });
    server.seen.length = 0;
    for (const uri of ['file:///etc/passwd', 'file:///srv/../etc/passwd'])
      for (const { json } of await both('resources/read', { uri }, uri)) expect(json.error.code).toBe(DENIED);
    expect(server.seen).toEqual([]);
  });

  test('M126 a link to what may not be read passes in a result, and the resource is not read', async () => {
    const uri = 'file:///etc/passwd';
    says({ content: [{ type: 'resource_link', uri, name: 'passwd' }] });
    for (const { text } of await both('tools/call', { name: 'echo', arguments: {} }, 'echo'))
      expect(text).toContain(uri);
    server.seen.length = 0;
    for (const { json } of await both('resources/read', { uri }, uri)) expect(json.error.code).toBe(DENIED);
    expect(server.seen).toEqual([]);
  });

  test('M127 an answer that depends on its caller is for no shared cache', async () => {
    const uri = 'file:///srv/a';
    const cached = { cacheScope: 'public', ttlMs: 60_000 };
    says({ contents: [], resources: [], prompts: [], resourceTemplates: [], capabilities: {}, ...cached });
    const asks: [string, object, string?][] = [
      ['resources/read', { uri }, uri],
      ['resources/list', {}],
      ['resources/templates/list', {}],
      ['prompts/list', {}],
      ['server/discover', {}],
    ];
    for (const [method, params, name] of asks)
      expect((await asked('modern', method, params, name)).json.result).toMatchObject({
        cacheScope: 'private',
        ttlMs: 60_000,
      });
  });

  test('M130 what a newer policy denies does not arrive', async () => {
    const uri = 'file:///srv/a';
    for (const era of ERAS) {
      allow(BLOCKS);
      server.say = ({ json }, res) => {
        allow({ ...BLOCKS, resources: { allow: ['repo://*'] } });
        reply(res, { jsonrpc: '2.0', id: json.id, result: { contents: [{ uri, text: 'HIDDEN' }] } });
      };
      // The connection of the call is cut, or its answer is a denial.
      const text = await asked(era, 'resources/read', { uri }, uri).then(
        (answer) => answer.text,
        () => '',
      );
      expect(text).not.toContain('HIDDEN');
    }
    expect(server.seen).toHaveLength(2);
  });

  test.each(['resources/subscribe', 'resources/unsubscribe'])(
    'M132 %s needs a rule of its own',
    async (method) => {
      expect((await asked('legacy', method, { uri: 'file:///srv/a' })).json.error.code).toBe(DENIED);
      expect(server.seen).toEqual([]);
    },
  );
});

describe('a prompt', () => {
  test.each(['greet', 'plan_day'])('%s is got', async (name) => {
    says({ messages: [{ role: 'user', content: { type: 'text', text: 'hi' } }] });
    for (const { json } of await both('prompts/get', { name, arguments: { a: 'b' } }, name))
      expect(json.result).toMatchObject({ messages: [{ content: { text: 'hi' } }] });
    expect(server.seen.map(({ json }) => json.params)).toMatchObject([
      { name, arguments: { a: 'b' } },
      { name, arguments: { a: 'b' } },
    ]);
  });

  test.each(['plan_secret', 'Greet', 'greet ', 'greet\u200b', '\uff47reet', 'other', 'file:///srv/a'])(
    'M123 %j is not got: no rule lets it, or it could be another one at the server',
    async (name) => {
      for (const { status, json } of await both('prompts/get', { name }, name))
        expect([status, json.error.code]).toEqual([200, DENIED]);
      expect(server.seen).toEqual([]);
    },
  );
});

describe('M123 rules about one kind', () => {
  test.each([
    ['tools', { allow: ['*'] }, ['resources', 'prompts', 'completion']],
    ['resources', { allow: ['*'] }, ['tools', 'prompts', 'completion']],
    ['prompts', { allow: ['*'] }, ['tools', 'resources', 'completion']],
    ['completion', { allow: ['*'] }, ['tools', 'resources', 'prompts', 'completion']],
  ])('about %s let nothing else pass', async (key, block, others) => {
    allow({ [key]: block });
    const uses: Record<string, [string, object, string?][]> = {
      tools: [['tools/call', { name: 'echo' }, 'echo']],
      resources: [
        ['resources/read', { uri: 'file:///srv/a' }, 'file:///srv/a'],
        ['resources/list', {}],
        ['resources/templates/list', {}],
      ],
      prompts: [
        ['prompts/get', { name: 'greet' }, 'greet'],
        ['prompts/list', {}],
      ],
      completion: [
        ['completion/complete', ofPrompt('greet')],
        ['completion/complete', ofTemplate('repo://{owner}/{name}')],
      ],
    };
    for (const [method, params, name] of others.flatMap((other) => uses[other] ?? []))
      for (const { json } of await both(method, params, name)) expect(json.error.code).toBe(DENIED);
    expect(server.seen).toEqual([]);
  });
});

test.each([
  [
    'resources/list',
    'resources',
    'uri',
    ['file:///srv/a'],
    ['file:///etc/x', 'file:///srv/secret', 'FILE:///srv/b'],
  ],
  ['resources/templates/list', 'resourceTemplates', 'uriTemplate', ['repo://{owner}/{name}'], ['db://{x}']],
  ['prompts/list', 'prompts', 'name', ['greet'], ['plan_secret', 'other', 'greet\u200b']],
])(
  'M124 %s shows what its caller may use, in order and page by page',
  async (method, member, key, shown, hidden) => {
    const entries = [...hidden, ...shown].map((name) => ({ [key]: name, name, HIDDEN: 'x' }));
    says({ [member]: entries, nextCursor: 'c2', HIDDEN: hidden, _meta: { HIDDEN: 'x' } });
    for (const { json, text } of await both(method, { cursor: 'c1' })) {
      expect(Reflect.get(json.result, member).map((entry: object) => Reflect.get(entry, key))).toEqual(shown);
      expect(json.result).toMatchObject({ nextCursor: 'c2' });
      expect(text).not.toContain('HIDDEN');
    }
    expect(server.seen.map(({ json }) => json.params)).toMatchObject([{ cursor: 'c1' }, { cursor: 'c1' }]);
  },
);

describe('a completion', () => {
  test.each([ofPrompt('greet'), ofTemplate('repo://{owner}/{name}')])('of %j is made', async (params) => {
    says({ completion: { values: ['bob'] } });
    for (const { json } of await both('completion/complete', params))
      expect(json.result).toMatchObject({ completion: { values: ['bob'] } });
  });

  test.each([
    ofPrompt('plan_secret'),
    ofPrompt('other'),
    ofPrompt('greet\u200b'),
    ofTemplate('db://{x}'),
    ofTemplate('greet'),
    ofTemplate('file:///srv/secret/x'),
    ofPrompt('repo://{owner}/{name}'),
  ])('M125 of %j is denied: its caller may not use that', async (params) => {
    for (const { json } of await both('completion/complete', params)) expect(json.error.code).toBe(DENIED);
    expect(server.seen).toEqual([]);
  });

  test('M125 that a rule denies is denied', async () => {
    allow({ ...BLOCKS, completion: { allow: ['*'], deny: ['greet'] } });
    for (const { json } of await both('completion/complete', ofPrompt('greet')))
      expect(json.error).toMatchObject({ code: DENIED, data: { rule: 'triage' } });
    expect(server.seen).toEqual([]);
  });
});

test.each([
  [
    'resources and prompts',
    { resources: { allow: ['*'] }, prompts: { allow: ['x'] } },
    ['prompts', 'resources'],
  ],
  ['completions', { completion: { allow: ['*'] } }, ['completions']],
  ['tools alone', { tools: { allow: ['*'] } }, []],
])(
  'M128 a caller learns of what a server has where a rule lets it use that: %s',
  async (_name, blocks, expected) => {
    allow(blocks);
    const capabilities = { resources: { subscribe: true, listChanged: true }, prompts: {}, completions: {} };
    says({ protocolVersion: '2025-11-25', capabilities, serverInfo: { name: 's', version: '1' } });
    const begun = await asked('legacy', 'initialize', { protocolVersion: '2025-11-25', capabilities: {} });
    const found = await asked('modern', 'server/discover', {});
    for (const { json } of [begun, found]) {
      expect(Object.keys(json.result.capabilities).toSorted()).toEqual(expected);
      expect(JSON.stringify(json.result.capabilities)).not.toContain('subscribe');
    }
  },
);

describe('M129 input for the server', () => {
  test.each<[string, object, string?]>([
    ['resources/read', { uri: 'file:///srv/a' }, 'file:///srv/a'],
    ['prompts/get', { name: 'greet' }, 'greet'],
  ])('is neither sent with %s nor asked for by its answer', async (method, params, name) => {
    for (const more of [{ inputResponses: { a: 5 } }, { requestState: 'x' }])
      for (const { status } of await both(method, { ...params, ...more }, name)) expect(status).toBe(400);
    expect(server.seen).toEqual([]);
    says({ resultType: 'input_required', inputRequests: {}, requestState: 'x' });
    for (const { json } of await both(method, params, name)) expect(json.error.code).toBe(DENIED);
  });
});

describe('M131 the record', () => {
  test('says what was read, got or completed, allowed or not', async () => {
    const uri = 'file:///srv/a';
    says({ contents: [], messages: [], completion: { values: [] } });
    await asked('legacy', 'resources/read', { uri });
    await asked('modern', 'prompts/get', { name: 'greet', arguments: { a: 'b' } }, 'greet');
    await asked('legacy', 'completion/complete', ofTemplate('repo://{owner}/{name}'));
    await asked('legacy', 'resources/read', { uri: 'file:///etc/shadow' });
    await asked('legacy', 'resources/read', { uri: 'file:///etc/passwd' });
    const sha256 = expect.stringMatching(/^[0-9a-f]{64}$/);
    const records = (stage: string) => world.events.filter((event) => event.stage === stage);
    expect(records('decided')).toMatchObject([
      { method: 'resources/read', resource: uri, allow: true, rule: 'triage' },
      { method: 'prompts/get', prompt: 'greet', allow: true, argumentsSha256: sha256 },
      {
        method: 'completion/complete',
        resource: 'repo://{owner}/{name}',
        allow: true,
        argumentsSha256: sha256,
      },
      { method: 'resources/read', resource: 'file:///etc/shadow', allow: false },
      { method: 'resources/read', resource: 'file:///etc/passwd', allow: false },
    ]);
    expect(records('answered')).toMatchObject([
      { resource: uri, outcome: 'result', resultSha256: sha256 },
      { prompt: 'greet', outcome: 'result', resultSha256: sha256 },
      { resource: 'repo://{owner}/{name}', outcome: 'result', resultSha256: sha256 },
    ]);
  });

  test('of a prompt has no argument in clear that a tool of the same name has', async () => {
    const address = `127.0.0.1:${world.gateway.port}`;
    const clear = [{ tools: ['greet'], fields: ['/a'] }];
    const where = McpServer.parse({ kind: 'McpServer', name: 'everything', identity: TOOLS, address, clear });
    const rule = { kind: 'Access', name: 'triage', who: [TRIAGE], servers: ['everything'], ...BLOCKS };
    version += 1n;
    world.policy.publish(compilePolicy([where, Access.parse(rule)], version));
    says({ messages: [] });
    await asked('legacy', 'prompts/get', { name: 'greet', arguments: { a: 'b' } });
    await asked('legacy', 'tools/call', { name: 'greet', arguments: { a: 'b' } });
    const decided = world.events.filter(({ stage }) => stage === 'decided');
    expect(decided.map(({ arguments: given }) => given)).toEqual([undefined, { '/a': 'b' }]);
  });
});

describe('M133 log messages', () => {
  const LEVEL = 'io.modelcontextprotocol/logLevel';
  const levels = ['debug', 'info', 'warning', 'emergency', 'loud'];
  /** Logs at each level before the answer. */
  function logs(): void {
    server.say = ({ json }, res) => {
      const said = levels.map((level) => ({
        jsonrpc: '2.0',
        method: 'notifications/message',
        params: { level, data: `SAID ${level}` },
      }));
      stream(res, [...said, { jsonrpc: '2.0', id: json.id, result: { content: [] } }]);
    };
  }

  test.each<[string | undefined, string[]]>([
    ['warning', ['warning', 'emergency']],
    ['debug', ['debug', 'info', 'warning', 'emergency']],
    [undefined, []],
  ])('pass from the level of a rule on: %s', async (logging, passed) => {
    allow({ ...BLOCKS, ...(logging === undefined ? {} : { logging }) });
    logs();
    for (const { text } of await both('tools/call', { name: 'echo', arguments: {} }, 'echo'))
      expect(levels.filter((level) => text.includes(`SAID ${level}`))).toEqual(passed);
  });

  test('are asked for at that level, and at no other', async () => {
    allow({ ...BLOCKS, logging: 'warning' });
    for (const level of ['debug', 'info', 'loud'])
      expect((await asked('legacy', 'logging/setLevel', { level })).json.error.code).toBe(DENIED);
    expect(server.seen).toEqual([]);
    for (const level of ['warning', 'alert'])
      expect((await asked('legacy', 'logging/setLevel', { level })).json.result).toEqual({});
    server.seen.length = 0;
    const svid = world.td.svid(TRIAGE, 80_000);
    const headers = modernHeaders('tools/call', 'echo');
    const reaches = async (level: string): Promise<unknown> => {
      const params = { name: 'echo', arguments: {}, _meta: { ...MODERN_META, [LEVEL]: level } };
      await ask(world, svid, { body: rpc('tools/call', params, 1), headers });
      return server.seen.at(-1)?.json.params._meta[LEVEL];
    };
    expect([await reaches('debug'), await reaches('alert'), await reaches('loud')]).toEqual([
      'warning',
      'alert',
      undefined,
    ]);
    allow(BLOCKS);
    expect(await reaches('alert')).toBeUndefined();
  });

  test('let nobody come in', async () => {
    allow({ logging: 'debug' });
    for (const { status } of await both('tools/list', {})) expect(status).toBe(403);
    expect(server.seen).toEqual([]);
  });
});
