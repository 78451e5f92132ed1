/** One odd message, of a server or of a client, and what becomes of everybody else's calls. */
import { PassThrough } from 'node:stream';
import type { UpstreamTarget } from '@chancery/agent/mcp/upstream/upstream.ts';
import { afterEach, describe, expect, test } from 'vitest';
import {
  callerOf,
  callOf,
  INITIALIZE,
  MODERN_META,
  modernHeaders,
  rpc,
  stdioAnswers,
} from '../../kit/mcp/clients/caller.ts';
import { type FakeServer, politely, startFakeServer, stream } from '../../kit/mcp/servers/server.ts';
import { connectTo, startWorld, type World } from '../../kit/mcp/world/world.ts';

/** A stdio server that writes what its tool's argument `raw` says, with the id of the call for ID. */
const SERVER = `
let heard = [];
let late;
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line);
  heard.push({ id, method, params });
  const say = (result) => console.log(JSON.stringify({ jsonrpc: '2.0', id, result }));
  if (method === 'initialize') return say({ protocolVersion: '2025-11-25', capabilities: { tools: {} } });
  if (id === undefined || params.name === 'hang') return;
  if (params.name === 'heard') return say({ content: heard });
  if (params.name === 'progress') {
    const { progressToken } = params._meta;
    const step = { progressToken, progress: params.arguments.step };
    console.log(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/progress', params: step }));
  }
  const large = 'x'.repeat(params.arguments.bytes ?? 0);
  const { raw } = params.arguments;
  if (raw !== undefined) console.log(raw.replaceAll('ID', id).replaceAll('LARGE', large));
  const answer = () => say({ content: [{ type: 'text', text: params.arguments.text ?? 'fine' }] });
  if (params.name === 'late') late = answer;
  else if (params.name !== 'raw') answer();
  if (params.name === 'release') late();
});`;

let world: World;
let server: FakeServer | undefined;
afterEach(async () => {
  await world.close();
  await server?.close();
  server = undefined;
});

const stdio: UpstreamTarget = { kind: 'command', command: [process.execPath, '-e', SERVER], env: {} };
const call = (id: number, name: string, args: object = {}, meta: object = {}) =>
  callOf(id, name, { arguments: args, _meta: meta });
const notification = (method: string, params: object = {}) => rpc(method, params);
const { post, begin } = callerOf(() => world);

const MIB = 1024 * 1024;
const deep = `${'['.repeat(80)}${']'.repeat(80)}`;

describe('M30: an odd message of a stdio server fails its own call, and nobody else’s', () => {
  test.each([
    [
      'a key twice',
      '{"jsonrpc":"2.0","id":ID,"result":{"a":1,"a":2}}',
      /could not be read: the same key twice/,
    ],
    [
      'nesting over the limit',
      `{"jsonrpc":"2.0","id":ID,"result":{"a":${deep}}}`,
      /nested more than 64 deep/,
    ],
    ['an answer over the limit', '{"result":{"text":"LARGE"},"jsonrpc":"2.0","id":ID}', /larger than 16 MiB/],
    ['a batch', '[{"jsonrpc":"2.0","id":ID,"result":{}}]', /a batch, which MCP had in 2025-03-26 only/],
    [
      'M65 an error with a code beyond 32 bits',
      '{"jsonrpc":"2.0","id":ID,"error":{"code":4294967296,"message":"m"}}',
      /not an integer of 32 bits/,
    ],
    ['M68 an answer without its version', '{"id":ID,"result":{"content":[]}}', /not JSON-RPC 2.0/],
    ['an answer that is cut off', '{"jsonrpc":"2.0","id":ID,"result":{"text":"', /a string does not end/],
  ])('%s', async (_name, raw, says) => {
    world = await startWorld(stdio);
    const session = await begin();
    const bytes = raw.includes('LARGE') ? 16 * MIB : 0;
    const waiting = post(call(1, 'hang'), session);
    await expect.poll(() => world.events.some(({ tool }) => tool === 'hang')).toBe(true);
    const { error } = (await post(call(2, 'raw', { raw, bytes }), session)).json;
    expect(error).toMatchObject({ code: -31502, message: expect.stringMatching(says) });
    expect((await post(call(3, 'fine'), session)).json.result.content[0].text).toBe('fine');
    await post(notification('notifications/cancelled', { requestId: 1 }), session);
    await waiting;
  });

  test.each([
    ['an escaped NUL', '{"jsonrpc":"2.0","id":ID,"result":{"text":"a\\u0000b"}}'],
    ['a lone surrogate', '{"jsonrpc":"2.0","id":ID,"result":{"\\ud83d":"\\ude00"}}'],
    ['a byte order mark before the message', '\ufeff{"jsonrpc":"2.0","id":ID,"result":{"text":"x"}}'],
    ['a space before the message', ' \t{"jsonrpc":"2.0","id":ID,"result":{"text":"x"}}\r'],
  ])('%s passes unchanged', async (_name, raw) => {
    world = await startWorld(stdio);
    const { text } = await post(call(2, 'raw', { raw }), await begin());
    expect(text).toBe(raw.replace('ID', '2').trim());
  });

  test('M81 the id as text is read as the number that it is, unless a request has it as text', async () => {
    world = await startWorld(stdio);
    const session = await begin();
    const raw = (id: number, text: string) =>
      post(call(id, 'raw', { raw: `{"jsonrpc":"2.0","id":"${id}","result":{"text":"${text}"}}` }), session);
    expect((await raw(2, 'one')).json).toEqual({ jsonrpc: '2.0', id: 2, result: { text: 'one' } });
    const waiting = post(call(3, 'hang').replace('"id":3', '"id":"3"'), session);
    await expect.poll(() => world.events.some(({ tool }) => tool === 'hang')).toBe(true);
    const other = raw(3, 'two');
    expect((await waiting).json).toEqual({ jsonrpc: '2.0', id: '3', result: { text: 'two' } });
    await post(notification('notifications/cancelled', { requestId: 3 }), session);
    await other;
  });

  test.each([
    ['a line of a log', 'starting up ...'],
    ['a line of a log in JSON', '{"level":"error","id":ID,"error":"boom"}'],
    ['a log over the limit', '{"level":"info","text":"LARGE"}'],
    ['an answer to nothing', '{"jsonrpc":"2.0","id":99,"result":{}}'],
  ])('%s is skipped', async (_name, raw) => {
    world = await startWorld(stdio);
    const bytes = raw.includes('LARGE') ? 16 * MIB : 0;
    const answer = await post(call(2, 'fine', { raw, bytes }), await begin());
    expect(answer.json.result.content[0].text).toBe('fine');
  });
});

describe('M76 a line of a log that names the id of an open call of another client', () => {
  test.each([
    '{"id":1,"error":"db: no row"}',
    '{"error":null,"id":1}',
    '{"id":1,"result":"created"}',
    '{"id":"1","error":"x"}',
    '[{"id":1,"result":2}]',
    '{"id":1,"result":2}{"level":3}',
    '{"id":1,"error":"x",',
  ])('fails no call: %s', async (raw) => {
    world = await startWorld(stdio);
    const open = modernly(7, 'late', { text: 'the answer' }, 7);
    await expect.poll(() => world.events.some(({ tool }) => tool === 'late')).toBe(true);
    expect((await modernly(8, 'release', { raw }, 8)).json.result.content[0].text).toBe('fine');
    expect((await open).json.result.content[0].text).toBe('the answer');
  });
});

describe('M71 a second call of an id whose first call failed by a line that cannot be read', () => {
  const error = '{"id":ID,"error":{"code":1,"message":"row is locked","data":1}}';

  test('does not have the answer of the first', async () => {
    world = await startWorld(stdio);
    const session = await begin();
    const first = await post(call(5, 'late', { raw: error, text: 'of the first' }), session);
    expect(first.json.error.message).toMatch(/could not be read: .*; it may have done what was asked$/);
    const second = await post(call(5, 'release', { text: 'of the second' }), session);
    expect(second.json.result.content[0].text).toBe('of the second');
  });

  test('does not, either, where the client of the first left before', async () => {
    world = await startWorld(stdio);
    const session = await begin();
    const left = post(call(5, 'late', { text: 'of the first' }), session);
    await expect.poll(() => world.events.some(({ tool }) => tool === 'late')).toBe(true);
    await post(notification('notifications/cancelled', { requestId: 5 }), session);
    await left;
    await post(call(6, 'x', { raw: error.replace('ID', '5') }), session);
    const second = await post(call(5, 'release', { text: 'of the second' }), session);
    expect(second.json.result.content[0].text).toBe('of the second');
  });
});

describe('M30: an odd event of a server that speaks HTTP', () => {
  const result = (id: number) => ({
    jsonrpc: '2.0',
    id,
    result: { content: [{ type: 'text', text: 'fine' }] },
  });
  test.each([
    ['a line of a log', 'starting up ...'],
    ['a notification that cannot be read', '{"jsonrpc":"2.0","method":"x","x":1}'],
    ['an event over the limit that answers nothing', `{"text":"${'x'.repeat(16 * MIB)}"}`],
  ])('%s is skipped, and the answer comes', async (_name, odd) => {
    server = await startFakeServer();
    server.say = ({ json }, res) => stream(res, [odd, result(Number(json.id))]);
    world = await startWorld(server.target);
    expect((await post(call(2, 'x'))).json.result.content[0].text).toBe('fine');
  });

  test.each([
    [
      'an answer over the limit',
      `{"result":{"text":"${'x'.repeat(16 * MIB)}"},"jsonrpc":"2.0","id":2}`,
      /16 MiB/,
    ],
    ['no answer', '{"jsonrpc":"2.0","method":"notifications/message"}', /ended its stream before the answer/],
  ])('%s fails the call', async (_name, odd, says) => {
    server = await startFakeServer();
    server.say = (_seen, res) => stream(res, [odd]);
    world = await startWorld(server.target);
    expect((await post(call(2, 'x'))).json.error.message).toMatch(says);
  });
});

const modernly = (id: number, name: string, args: object, token: number) =>
  post(call(id, name, args, { ...MODERN_META, progressToken: token }), modernHeaders('tools/call', name));

describe('M31: clients of one caller that share a process and count alike', () => {
  test('each is shown its own progress', async () => {
    world = await startWorld(stdio);
    const both = [1, 2, 3, 4].map((step) => modernly(0, 'progress', { step }, 0));
    for (const [index, { text }] of (await Promise.all(both)).entries()) {
      const progress = [...text.matchAll(/"progressToken":(\d+),"progress":(\d+)/g)];
      expect(progress.map(([, token, step]) => [token, step])).toEqual([['0', String(index + 1)]]);
    }
  });

  test('a cancellation reaches the request that it names, and none where two have the name', async () => {
    world = await startWorld(stdio);
    const cancel = (requestId: number) =>
      post(notification('notifications/cancelled', { requestId }), { 'mcp-protocol-version': '2026-07-28' });
    const hanging = [7, 7, 8].map((id) => modernly(id, 'hang', {}, id).catch(() => {}));
    await expect.poll(() => world.events.filter(({ tool }) => tool === 'hang').length).toBe(3);
    await cancel(7);
    await cancel(8);
    const { json } = await modernly(9, 'heard', {}, 9);
    const heard = json.result.content as unknown as readonly {
      method: string;
      params: { requestId: number };
    }[];
    const cancelled = heard.filter(({ method }) => method === 'notifications/cancelled');
    expect(cancelled.map(({ params }) => params.requestId)).toEqual([3]);
    await hanging[2];
    await world.close();
    await Promise.all(hanging);
  });

  test('a server over HTTP is not told a cancellation that could be anybody’s', async () => {
    server = await startFakeServer();
    world = await startWorld(server.target);
    const headers = { 'mcp-protocol-version': '2026-07-28' };
    expect((await post(notification('notifications/cancelled', { requestId: 7 }), headers)).status).toBe(202);
    expect(server.seen).toEqual([]);
  });
});

test('a cancelled call to a stdio server ends its HTTP request', async () => {
  world = await startWorld(stdio);
  const session = await begin();
  const hanging = post(call(5, 'hang'), session);
  await expect.poll(() => world.events.some(({ tool }) => tool === 'hang')).toBe(true);
  expect((await post(notification('notifications/cancelled', { requestId: 5 }), session)).status).toBe(202);
  expect(await hanging).toMatchObject({ status: 200, text: '' });
  expect(world.events.some(({ outcome }) => outcome === 'abandoned')).toBe(true);
});

describe('stdio', () => {
  test('M32 what cannot be read is answered by its id, and the next line is read', async () => {
    server = await startFakeServer();
    world = await startWorld(server.target);
    const large = call(4, 'x', { text: 'x'.repeat(16 * MIB) });
    const answers = await stdioAnswers(
      world,
      [
        '{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"a":1,"a":2}}',
        large,
        '{"jsonrpc":"2.0","id":5,"result":{"a":1,"a":2}}',
        '{"jsonrpc":"2.0","method":"notifications/x","x":1}',
        'garbage',
        ' \r',
        '{"jsonrpc":"2.0","id":1.5,"method":"ping"}',
        '{"jsonrpc":"2.0","id":null,"method":"ping"}',
        '{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}',
        '{"jsonrpc":"2.0","id":7,"method":"ping","params":null}',
        call(6, 'echo'),
      ],
      8,
    );
    const told = answers.map((line) => JSON.parse(line));
    const unnamed = {
      id: null,
      error: { code: -32600, message: expect.stringContaining('the id is neither') },
    };
    expect(told.slice(0, 7)).toMatchObject([
      { id: 3, error: { code: -32600, message: expect.stringContaining('the same key twice') } },
      { id: 4, error: { code: -32600, message: 'the message has more than 16777216 bytes' } },
      { id: null, error: { code: -32700 } },
      unnamed,
      unnamed,
      unnamed,
      { id: 7, error: { code: -32600, message: 'params is not an object' } },
    ]);
    expect(told[7]).toMatchObject({ id: 6, result: {} });
    expect(server.seen).toHaveLength(1);
  });

  test('a stream that ends after an event with an id is resumed there', async () => {
    server = await startFakeServer();
    server.say = (seen, res, req) => {
      if (seen.method === 'GET' && seen.headers['last-event-id'] === 'é 1') {
        const answer = { jsonrpc: '2.0', id: 6, result: { content: [{ type: 'text', text: 'late' }] } };
        return stream(res, [answer]);
      }
      if (seen.json?.method !== 'tools/call') return politely(seen, res, req);
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.end('\ufeffid: é 1\nretry: 1\ndata: \n\n');
    };
    // Node writes the id as the bytes that it is.
    const utf8 = Buffer.from('é 1').toString('latin1');
    const say = server.say;
    server.say = (seen, res, req) => {
      const { headers } = seen;
      const last = headers['last-event-id'] === utf8 ? 'é 1' : headers['last-event-id'];
      say({ ...seen, headers: { ...headers, 'last-event-id': last } }, res, req);
    };
    world = await startWorld(server.target);
    const written = [INITIALIZE, notification('notifications/initialized'), call(6, 'x')];
    const [, answer] = await stdioAnswers(world, written, 2);
    expect(JSON.parse(answer ?? '')).toMatchObject({ id: 6, result: { content: [{ text: 'late' }] } });
  });

  test.each([
    ['404', 404, -32001, 'Session not found'],
    ['400, as the reference server says it', 400, -32000, 'Bad Request: No valid session ID provided'],
  ])(
    'a call that may build on a lost session is told so (%s), and the next one works',
    async (_n, status, code, message) => {
      server = await startFakeServer();
      let lost = false;
      let sessions = 0;
      server.say = (seen, res, req) => {
        if (seen.json?.method === 'initialize') sessions += 1;
        lost = seen.json?.params?.name === 'lose' || (lost && seen.json?.method !== 'initialize');
        if (!lost) return politely(seen, res, req);
        res.writeHead(status, { 'content-type': 'application/json' });
        res.end(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code, message } }));
      };
      world = await startWorld(server.target);
      const written = [INITIALIZE, notification('notifications/initialized'), call(1, 'echo')];
      const [input, output] = [new PassThrough(), new PassThrough()];
      const connect = await connectTo(world, { kind: 'stdio', input, output });
      let out = '';
      output.on('data', (chunk) => {
        out += chunk;
      });
      for (const line of written) input.write(`${line}\n`);
      await expect.poll(() => out).toContain('"id":1');
      input.write(`${call(2, 'lose')}\n`);
      await expect.poll(() => out).toContain('"id":2');
      const [told, failed] = out.trim().split('\n').slice(2);
      expect(told).toContain('notifications/tools/list_changed');
      expect(failed).toMatch(/the MCP server lost the session.*this call was not made/);
      input.write(`${call(3, 'echo')}\n`);
      await expect.poll(() => out).toContain('"id":3,"result"');
      expect(sessions).toBe(2);
      input.end();
      await connect.done;
    },
  );
});
