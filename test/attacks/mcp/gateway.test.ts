/**
 * Attacks on the gateway by a client that has a genuine SVID. One genuine call, spoiled one way a row; nothing of a
 * refused message reaches the server, and the record says why.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ask } from '../../kit/mcp/clients/ask.ts';
import { type FakeServer, politely, startFakeServer, TOOLS_LISTED } from '../../kit/mcp/servers/server.ts';
import { windowClock } from '../../kit/mcp/world/windows.ts';
import { STRANGER, startWorld, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

const VERSION = 'io.modelcontextprotocol/protocolVersion';
const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities';
const META = { [VERSION]: '2026-07-28', [CAPABILITIES]: { sampling: {} } };

let server: FakeServer;
let world: World;
let svid: ReturnType<World['td']['svid']>;
/** A window of folded records would join the records of two tests. */
const windows = windowClock();
beforeAll(async () => {
  server = await startFakeServer();
  const tools = {
    allow: ['echo', 'get-*', '/(list|read)_.+/', 'both'],
    deny: ['get-env', 'read_s*', '/.*_root/', 'both'],
  };
  world = await startWorld(server.target, { tools, clock: windows.clock });
  svid = world.td.svid(TRIAGE, 80_000);
});
afterAll(async () => {
  await world?.close();
  await server?.close();
});
beforeEach(async () => {
  await windows.endWindow();
  await windows.endWindow();
  server.seen.length = 0;
  server.say = politely;
  world.events.length = 0;
});

const call = (params: object = { name: 'echo', arguments: { message: 'hi' } }, method = 'tools/call') => ({
  jsonrpc: '2.0',
  id: 1,
  method,
  params,
});
const modern = (name = 'echo', more: object = {}) => call({ name, arguments: {}, _meta: META, ...more });
const headersOf = (more: Record<string, string | string[]> = {}): Record<string, string | string[]> => ({
  'mcp-protocol-version': '2026-07-28',
  'mcp-method': 'tools/call',
  'mcp-name': 'echo',
  ...more,
});
const post = (body: unknown, headers: Record<string, string | string[]> = {}) =>
  ask(world, svid, {
    body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
    headers,
  });
const without = (headers: Record<string, string | string[]>, name: string) =>
  Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name));
const base64 = (text: string) => `=?base64?${Buffer.from(text).toString('base64')}?=`;
const nested = (depth: number) =>
  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":${'['.repeat(depth)}${']'.repeat(depth)}}}}`;

test('the genuine calls pass, in either era', async () => {
  expect((await post(call())).json.result.content[0].text).toBe('echo');
  expect((await post(modern(), headersOf())).json.result.content[0].text).toBe('echo');
  expect(server.seen).toHaveLength(2);
});

const unreadable: [
  name: string,
  body: unknown,
  headers: Record<string, string | string[]>,
  refused: [number, number, string],
][] = [
  ['M1 Name instead of name', call({ Name: 'get-env' }), {}, [400, -32600, 'mcp_parse']],
  ['M1 Name beside name', call({ name: 'echo', Name: 'get-env' }), {}, [400, -32600, 'mcp_parse']],
  ['M1 Params beside params', { ...call(), Params: { name: 'get-env' } }, {}, [400, -32600, 'mcp_parse']],
  ['M1 METHOD beside method', { ...call({}, 'ping'), METHOD: 'tools/call' }, {}, [400, -32600, 'mcp_parse']],
  [
    'M2 params twice',
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"},"params":{"name":"get-env"}}',
    {},
    [400, -32600, 'mcp_parse'],
  ],
  [
    'M2 a name twice, once escaped',
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","n\\u0061me":"get-env"}}',
    {},
    [400, -32600, 'mcp_parse'],
  ],
  [
    'M2 a key twice, deep in the arguments',
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":[{"b":1,"b":2}]}}}',
    {},
    [400, -32600, 'mcp_parse'],
  ],
  ['M2 a NUL in the name', call({ name: 'echo\0get-env' }), {}, [400, -32600, 'mcp_parse']],
  ['M2 a NUL after the message', `${JSON.stringify(call())}\0`, {}, [400, -32700, 'mcp_parse']],
  ['M2 a BOM', `\ufeff${JSON.stringify(call())}`, {}, [400, -32700, 'mcp_parse']],
  [
    'M2 invalid UTF-8',
    Buffer.from(JSON.stringify(call({ name: 'e\xff' })), 'latin1'),
    {},
    [400, -32700, 'mcp_parse'],
  ],
  [
    'M2 a lone surrogate',
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\\ud83d"}}',
    {},
    [400, -32600, 'mcp_parse'],
  ],
  ['M3 a batch', [call()], {}, [400, -32600, 'mcp_parse']],
  ['M3 a modern response', { jsonrpc: '2.0', id: 1, result: {} }, headersOf(), [400, -32600, 'mcp_parse']],
  ['M3 a legacy response to nothing', { jsonrpc: '2.0', id: 1, result: {} }, {}, [400, -32600, 'mcp_parse']],
  [
    'M4 another version in the header',
    modern(),
    headersOf({ 'mcp-protocol-version': '2025-11-25' }),
    [400, -32020, 'mcp_headers'],
  ],
  [
    'M4 no version header',
    modern(),
    without(headersOf(), 'mcp-protocol-version'),
    [400, -32020, 'mcp_headers'],
  ],
  [
    'M4 another method in the header',
    modern(),
    headersOf({ 'mcp-method': 'tools/list' }),
    [400, -32020, 'mcp_headers'],
  ],
  ['M4 no method header', modern(), without(headersOf(), 'mcp-method'), [400, -32020, 'mcp_headers']],
  ['M4 another tool in the header', modern('get-env'), headersOf(), [400, -32020, 'mcp_headers']],
  ['M4 no name header', modern(), without(headersOf(), 'mcp-name'), [400, -32020, 'mcp_headers']],
  [
    'M4 the name header twice',
    modern(),
    headersOf({ 'mcp-name': ['echo', 'echo'] }),
    [400, -32020, 'mcp_headers'],
  ],
  [
    'M4 a version nobody knows',
    call({ name: 'echo', _meta: { ...META, [VERSION]: '2099-01-01' } }),
    headersOf({ 'mcp-protocol-version': '2099-01-01' }),
    [400, -32022, 'mcp_version'],
  ],
  [
    'M4 a legacy version nobody knows',
    call(),
    { 'mcp-protocol-version': '2023-01-01' },
    [400, -32022, 'mcp_version'],
  ],
  ['M4 a modern header and no claim', call(), headersOf(), [400, -32602, 'mcp_meta']],
  [
    'M4 no capabilities',
    call({ name: 'echo', _meta: { [VERSION]: '2026-07-28' } }),
    headersOf(),
    [400, -32602, 'mcp_meta'],
  ],
  [
    'M5 base64 of another tool',
    modern(),
    headersOf({ 'mcp-name': base64('get-env') }),
    [400, -32020, 'mcp_headers'],
  ],
  [
    'M5 base64 of this tool and more',
    modern(),
    headersOf({ 'mcp-name': base64('echo\n') }),
    [400, -32020, 'mcp_headers'],
  ],
  [
    'M6 a body over the limit',
    call({ name: 'echo', arguments: { a: 'x'.repeat(16_800_000) } }),
    {},
    [413, -32600, 'mcp_size'],
  ],
  [
    'M6 a body over the limit, in chunks',
    call({ name: 'echo', arguments: { a: 'x'.repeat(16_800_000) } }),
    { 'transfer-encoding': 'chunked' },
    [413, -32600, 'mcp_size'],
  ],
  ['M6 nesting over the limit', nested(70), {}, [400, -32600, 'mcp_parse']],
  ['M6 Content-Encoding', call(), { 'content-encoding': 'gzip' }, [415, -32600, 'mcp_media']],
  ['M6 another Content-Type', call(), { 'content-type': 'text/plain' }, [415, -32600, 'mcp_media']],
  [
    'M6 another charset',
    call(),
    { 'content-type': 'application/json; charset=utf-16' },
    [415, -32600, 'mcp_media'],
  ],
  [
    'M6 a second Content-Type',
    call(),
    { 'content-type': ['application/json', 'text/plain'] },
    [415, -32600, 'mcp_media'],
  ],
  ['M6 no JSON accepted', call(), { accept: 'text/event-stream' }, [406, -32600, 'mcp_accept']],
  ['M6 no event stream accepted', call(), { accept: 'application/json' }, [406, -32600, 'mcp_accept']],
  ['M7 no JSON at all', 'tools/call echo', {}, [400, -32700, 'mcp_parse']],
  ['M7 nothing', '', {}, [400, -32700, 'mcp_parse']],
  ['M7 a call that names no tool', call({ arguments: {} }), {}, [400, -32600, 'mcp_parse']],
  ['M7 a tool that is a list', call({ name: ['echo'] }), {}, [400, -32600, 'mcp_parse']],
];

describe('what cannot be read is refused and recorded, and never goes on', () => {
  test.each(unreadable)('%s', async (_name, body, headers, [status, rpc, code]) => {
    const answer = await post(body, headers);
    expect([answer.status, answer.json.error.code]).toEqual([status, rpc]);
    expect(world.events).toMatchObject([{ stage: 'refused', code, caller: TRIAGE, allow: false }]);
    expect(server.seen).toEqual([]);
  });

  test('the client is told which versions there are', async () => {
    const body = call({ name: 'echo', _meta: { ...META, [VERSION]: '2099-01-01' } });
    const { json } = await post(body, headersOf({ 'mcp-protocol-version': '2099-01-01' }));
    expect(json).toMatchObject({
      id: 1,
      error: { data: { supported: ['2026-07-28'], requested: '2099-01-01' } },
    });
  });

  test.each([
    ['M3 GET in the modern era', { method: 'GET', headers: { 'mcp-protocol-version': '2026-07-28' } }, 405],
    [
      'M3 DELETE in the modern era',
      { method: 'DELETE', headers: { 'mcp-protocol-version': '2026-07-28' } },
      405,
    ],
    ['another method', { method: 'PUT' }, 405],
    ['I21 another path', { path: '/mcp/../admin' }, 404],
    ['I21 a query', { path: '/mcp?x=1' }, 404],
    ['I21 an absolute URL', { path: 'http://169.254.169.254/mcp' }, 404],
  ])('%s', async (_name, options, status) => {
    expect((await ask(world, svid, options)).status).toBe(status);
    expect(server.seen).toEqual([]);
  });

  test('what goes on is written anew', async () => {
    await post(
      '{ "params" : {"arguments":{"b":1e2,"n":12345678901234567890}, "name":"\\u0065cho"}, "method":"tools/call",\n"id":1, "jsonrpc":"2.0" }',
    );
    expect(server.seen[0]?.text).toBe(
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"b":1e2,"n":12345678901234567890},"name":"echo"}}',
    );
  });
});

describe('M8, M9, M12: what no rule allows is denied', () => {
  test.each([
    ['M8 a literal deny beside a glob allow', 'get-env', 'triage'],
    ['M8 a glob deny beside a regex allow', 'read_secret', 'triage'],
    ['M8 a regex deny beside a regex allow', 'list_root', 'triage'],
    ['M8 allowed and denied at once', 'both', 'triage'],
    ['M9 a tool that came later', 'new-tool', undefined],
    ['M9 a name in another case', 'Echo', undefined],
    ['M8 a regex matches whole names', 'xlist_x', undefined],
  ])('%s', async (_name, tool, rule) => {
    for (const answer of [
      await post(call({ name: tool })),
      await post(modern(tool), headersOf({ 'mcp-name': tool })),
    ]) {
      expect(answer.status).toBe(200);
      const { code, data } = answer.json.error;
      expect(code).toBe(-31403);
      expect(data).toEqual({
        reason: expect.stringContaining(tool),
        decisionId: expect.any(String),
        ...(rule && { rule }),
      });
    }
    expect(world.events).toMatchObject([{ stage: 'decided', allow: false, tool }]);
    expect(server.seen).toEqual([]);
  });

  test.each([
    ['resources/list', {}, 'list resources of server everything'],
    ['resources/templates/list', {}, 'list resources of server everything'],
    ['resources/read', { uri: 'file:///a' }, 'read resource file:///a of server everything'],
    ['prompts/list', {}, 'list prompts of server everything'],
    ['prompts/get', { name: 'echo' }, 'get prompt echo of server everything'],
    [
      'completion/complete',
      { ref: { type: 'ref/prompt', name: 'echo' }, argument: { name: 'a', value: '' } },
      'use prompt echo of server everything',
    ],
  ])('M12 %s, which no rule allows', async (method, params, says) => {
    const { json } = await post(call(params, method));
    expect(json.error).toMatchObject({
      code: -31403,
      data: { reason: `no Access rule lets ${TRIAGE} ${says}` },
    });
    expect(server.seen).toEqual([]);
  });

  test.each([
    'tasks/update',
    'subscriptions/listen',
    'sampling/createMessage',
    'roots/list',
    'notifications/initialized',
    'constructor',
  ])('M12 %s as a request', async (method) => {
    const { json } = await post(call({}, method));
    expect(json.error).toMatchObject({
      code: -31403,
      data: { reason: `no kind of rule can allow ${method}` },
    });
    expect(server.seen).toEqual([]);
  });

  test.each(['tools/call', 'notifications/tasks/status', 'exit'])(
    'M12 %s as a notification',
    async (method) => {
      expect((await post({ jsonrpc: '2.0', method, params: { name: 'echo' } })).status).toBe(202);
      expect(world.events).toMatchObject([{ stage: 'decided', kind: 'notification', method, allow: false }]);
      expect(server.seen).toEqual([]);
    },
  );

  test.each([
    ['M12 a task', { task: { ttl: 1 } }],
    ['M13 a request state', { requestState: 'x' }],
    ['M13 input for the server', { inputResponses: { name: 5 } }],
  ])('%s', async (_name, more) => {
    expect((await post(modern('echo', more), headersOf())).status).toBe(400);
    expect(server.seen).toEqual([]);
  });

  test('lists show what may be called, in order, with their cursor, for this caller alone', async () => {
    const { json } = await post(call({}, 'tools/list'));
    const { tools, ...rest } = json.result;
    expect(tools.map(({ name }: { name: string }) => name)).toEqual(['echo', 'get-sum']);
    expect(TOOLS_LISTED).toContain('get-env');
    expect(rest).toEqual({ nextCursor: 'c2', ttlMs: 5, cacheScope: 'private' });
  });

  test('a caller whom no rule knows gets 403, whatever it asks', async () => {
    const other = world.td.svid(STRANGER, 80_000);
    for (const body of [
      call(),
      call({}, 'tools/list'),
      call({}, 'initialize'),
      { jsonrpc: '2.0', method: 'notifications/initialized' },
    ])
      expect((await ask(world, other, { body: JSON.stringify(body) })).status).toBe(403);
    for (const method of ['GET', 'DELETE']) expect((await ask(world, other, { method })).status).toBe(403);
    expect(server.seen).toEqual([]);
  });
});

describe('M14, I20: what a client says about itself is stripped', () => {
  const forged = {
    authorization: 'Bearer x',
    cookie: 'a=b',
    'chancery-assertion': 'x',
    'x-forwarded-client-cert': 'URI=spiffe://prod.example/admin',
    'x-forwarded-for': '10.0.0.1',
    'x-spiffe-id': 'spiffe://prod.example/admin',
    forwarded: 'for=10.0.0.1',
    'last-event-id': '7',
    'x-anything': 'x',
  };
  test.each([
    ['legacy', call(), {}, ['accept', 'accept-encoding', 'content-length', 'content-type']],
    [
      'modern',
      modern(),
      headersOf({ 'mcp-param-city': 'Rome' }),
      [
        'accept',
        'accept-encoding',
        'content-length',
        'content-type',
        'mcp-method',
        'mcp-name',
        'mcp-param-city',
        'mcp-protocol-version',
      ],
    ],
  ])('%s', async (_name, body, headers, expected) => {
    await post(body, { ...forged, ...headers });
    const sent = Object.keys(server.seen[0]?.headers ?? {}).filter(
      (name) => !['host', 'connection'].includes(name),
    );
    expect(sent.sort()).toEqual(expected);
  });

  test('and so is what it offers to do for the server', async () => {
    await post(
      call({ protocolVersion: '2025-11-25', capabilities: { sampling: {}, roots: {} } }, 'initialize'),
    );
    await post(modern(), headersOf());
    expect(server.seen[0]?.json.params.capabilities).toEqual({});
    expect(server.seen[1]?.json.params._meta[CAPABILITIES]).toEqual({});
  });
});
