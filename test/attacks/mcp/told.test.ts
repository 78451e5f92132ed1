/** What a stdio server and the gateway tell unasked: it reaches the one whom it concerns, and nobody else. */
import { request } from 'node:https';
import { PassThrough } from 'node:stream';
import { allowedEnvironment } from '@chancery/agent/mcp/upstream/stdio/command.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ask } from '../../kit/mcp/clients/ask.ts';
import { type FakeServer, politely, reply, startFakeServer, stream } from '../../kit/mcp/servers/server.ts';
import { connectTo, id, policyFor, startWorld, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

const OTHER = id('agents/other');
/** Says something at once; `log` logs before it answers. */
const SERVER = `
const say = (message) => console.log(JSON.stringify({ jsonrpc: '2.0', ...message }));
const log = (data) => say({ method: 'notifications/message', params: { level: 'info', data } });
log('hello');
const subscriptions = [];
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  if (params?.name === 'log') log('working for ' + id);
  if (params?.name === 'hang') return log('waiting');
  if (method === 'subscriptions/listen') {
    const _meta = { 'io.modelcontextprotocol/subscriptionId': id };
    say({ method: 'notifications/subscriptions/acknowledged', params: { notifications: { toolsListChanged: true }, _meta } });
    subscriptions.push(_meta);
    return;
  }
  if (params?.name === 'change')
    say({ method: 'notifications/tools/list_changed', params: { _meta: subscriptions[params.arguments.which] } });
  say({ id, result: method === 'initialize' ? { capabilities: { tools: {} } } : { content: [] } });
});`;

let world: World;
beforeEach(async () => {
  const env = allowedEnvironment(process.env, []);
  world = await startWorld(
    { kind: 'command', command: [process.execPath, '-e', SERVER], env },
    { who: [TRIAGE, OTHER] },
  );
});
afterEach(() => world.close());

const post = (message: object, headers: Record<string, string> = {}, caller = TRIAGE) =>
  ask(world, world.td.svid(caller), { body: JSON.stringify({ jsonrpc: '2.0', ...message }), headers });

async function begin(caller = TRIAGE) {
  const { headers, json } = await post({ id: 0, method: 'initialize', params: {} }, {}, caller);
  return { session: { 'mcp-session-id': String(headers['mcp-session-id']) }, json };
}

/** Fills the returned list with what comes on the stream of a session, for as long as the world lasts. */
function listen(session: Record<string, string>, caller = TRIAGE): string[] {
  const heard: string[] = [];
  const outgoing = request({
    host: '127.0.0.1',
    port: world.gateway.port,
    path: '/mcp',
    agent: false,
    headers: { accept: 'text/event-stream', ...session },
    ...clientTls(world.td.svid(caller), world.td.bundle.current()),
    checkServerIdentity: () => undefined,
  });
  outgoing.on('error', () => {});
  outgoing.on('response', (response) => {
    heard.push('open');
    response.on('error', () => {});
    response.on('data', (chunk) => heard.push(String(chunk)));
  });
  outgoing.end();
  return heard;
}

test('what a stdio server says before its client listens is delivered when it does', async () => {
  const { session } = await begin();
  const heard = listen(session);
  await expect.poll(() => heard.join('')).toContain('"data":"hello"');
});

test('a client whose rules change is told that its list has changed, and another is not', async () => {
  const { session, json } = await begin();
  expect(json.result.capabilities).toEqual({ tools: { listChanged: true } });
  const heard = listen(session);
  const other = listen((await begin(OTHER)).session, OTHER);
  await expect.poll(() => heard.length > 0 && other.length > 0).toBe(true);
  const { port } = world.gateway;
  const changes = (of: readonly string[]) => of.join('').split('notifications/tools/list_changed').length - 1;
  world.policy.publish(policyFor(port, { allow: ['*'] }, 3n, [TRIAGE, OTHER]));
  // TRIAGE alone is allowed less.
  const both = policyFor(port, { allow: ['*'] }, 4n, [OTHER]);
  const less = policyFor(port, { allow: ['log'] }, 4n, [TRIAGE]);
  world.policy.publish({
    ...both,
    rulesFor: (who, server) => (who.caller === TRIAGE ? less : both).rulesFor(who, server),
  });
  await expect.poll(() => changes(heard)).toBe(1);
  // What is sent to both now is behind whatever was sent before.
  world.policy.publish(policyFor(port, { allow: ['none'] }, 5n, [TRIAGE, OTHER]));
  await expect.poll(() => [changes(heard), changes(other)]).toEqual([2, 1]);
});

const changesIn = (heard: readonly string[]) => heard.join('').split('tools/list_changed').length - 1;

test('I94 a client whose rules change before it listens, or between two streams, is told when it listens', async () => {
  const { session } = await begin();
  const { port } = world.gateway;
  world.policy.publish(policyFor(port, { allow: ['log'] }, 3n, [TRIAGE, OTHER]));
  const first = listen(session);
  await expect.poll(() => changesIn(first)).toBe(1);
  const second = listen(session);
  await expect.poll(() => second.length).toBeGreaterThan(0);
  world.policy.publish(policyFor(port, { allow: ['none'] }, 4n, [TRIAGE, OTHER]));
  await expect.poll(() => changesIn(second)).toBe(1);
  const fresh = listen((await begin()).session);
  world.policy.publish(policyFor(port, { allow: ['log'] }, 5n, [TRIAGE, OTHER]));
  await expect.poll(() => changesIn(fresh)).toBe(1);
});

/** Of the modern era: resolves with the whole answer. */
function modern(method: string, params: object, more: object = {}, id = 7) {
  const meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const name: unknown = Reflect.get(params, 'name');
  const named = typeof name === 'string' ? { 'mcp-name': name } : {};
  return post(
    { id, method, params: { ...params, _meta: { ...meta, ...more } } },
    { 'mcp-protocol-version': '2026-07-28', 'mcp-method': method, ...named },
  );
}

/** Fills the returned list with what comes on the stream of one modern request that is not answered. */
function follow(method: string, params: object, more: object = {}, id = 7): string[] {
  const heard: string[] = [];
  const meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const name: unknown = Reflect.get(params, 'name');
  const outgoing = request({
    host: '127.0.0.1',
    port: world.gateway.port,
    path: '/mcp',
    method: 'POST',
    agent: false,
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      ...(typeof name === 'string' ? { 'mcp-name': name } : {}),
    },
    ...clientTls(world.td.svid(TRIAGE), world.td.bundle.current()),
    checkServerIdentity: () => undefined,
  });
  outgoing.on('error', () => {});
  outgoing.on('response', (response) => {
    response.on('error', () => {});
    response.on('data', (chunk) => heard.push(String(chunk)));
  });
  outgoing.end(
    JSON.stringify({ jsonrpc: '2.0', id, method, params: { ...params, _meta: { ...meta, ...more } } }),
  );
  return heard;
}

const LEVEL = 'io.modelcontextprotocol/logLevel';

test('in the modern era log messages come with the request that asked for them', async () => {
  const call = (more: object) => modern('tools/call', { name: 'log' }, more);
  expect((await call({})).text).not.toContain('working');
  const { text } = await call({ [LEVEL]: 'info' });
  expect(text).toContain('working for 2');
  expect(text).toContain('"id":7');
});

test('a log message of a stdio server goes to each open request of its caller that asked for its level', async () => {
  const call = (level: string) => follow('tools/call', { name: 'hang' }, { [LEVEL]: level });
  const [first, second, strict] = [call('info'), call('debug'), call('error')];
  await expect.poll(() => [first.length, second.length].every((length) => length > 0)).toBe(true);
  const { text } = await modern('tools/call', { name: 'log' }, { [LEVEL]: 'notice' });
  expect(text).not.toContain('working');
  await expect.poll(() => [first, second].every((heard) => /working for/.test(heard.join('')))).toBe(true);
  expect(strict).toEqual([]);
});

test('what a stdio server tells one subscription goes to that one, under its own id', async () => {
  const listen = () => follow('subscriptions/listen', { notifications: { toolsListChanged: true } });
  const first = listen();
  await expect.poll(() => first.join('')).toContain('acknowledged');
  const second = listen();
  await expect.poll(() => second.join('')).toContain('acknowledged');
  const changed = (which: number) => modern('tools/call', { name: 'change', arguments: { which } }, {}, 8);
  const told = (heard: readonly string[]) =>
    heard.join('').match(/list_changed","params":\{"_meta":\{"io.modelcontextprotocol\/subscriptionId":7\}/g)
      ?.length ?? 0;
  await changed(1);
  await expect.poll(() => [told(first), told(second)]).toEqual([0, 1]);
  await changed(0);
  await changed(0);
  await expect.poll(() => [told(first), told(second)]).toEqual([2, 1]);
});

describe('I94 a client of the modern era whose rules change after it asked to listen', () => {
  const listening = { notifications: { toolsListChanged: true } };
  const acknowledged = (notifications: object) => ({
    jsonrpc: '2.0',
    method: 'notifications/subscriptions/acknowledged',
    params: { notifications },
  });
  let server: FakeServer;
  /** Of the server's stream, once it is open. */
  let say: (message: object) => void;
  let heard: string[];
  beforeEach(async () => {
    await world.close();
    server = await startFakeServer();
    const opened = Promise.withResolvers<typeof say>();
    server.say = (_, res) => {
      stream(res, [], true);
      opened.resolve((message) => void res.write(`data: ${JSON.stringify(message)}\n\n`));
    };
    world = await startWorld(server.target, { who: [TRIAGE, OTHER] });
    heard = follow('subscriptions/listen', listening);
    say = await opened.promise;
  });
  afterEach(() => server.close());
  const allow = (tool: string, version: bigint) =>
    world.policy.publish(policyFor(world.gateway.port, { allow: [tool] }, version, [TRIAGE, OTHER]));
  const methods = () => [...heard.join('').matchAll(/"method":"([^"]+)"/g)].map(([, method]) => method);
  const [ACKNOWLEDGED, CHANGED] = [
    'notifications/subscriptions/acknowledged',
    'notifications/tools/list_changed',
  ];

  test('is told so when the server has acknowledged, and not before', async () => {
    allow('log', 3n);
    // What the gateway has for this stream now is behind a change that it must not tell.
    say(acknowledged({ toolsListChanged: true }));
    await expect.poll(methods).toEqual([ACKNOWLEDGED, CHANGED]);
    allow('none', 4n);
    await expect.poll(methods).toEqual([ACKNOWLEDGED, CHANGED, CHANGED]);
  });

  test('is not told where the server has not agreed to tell of the list', async () => {
    allow('log', 3n);
    say(acknowledged({}));
    allow('none', 4n);
    await expect.poll(methods).toEqual([ACKNOWLEDGED]);
    allow('log', 5n);
    say({ jsonrpc: '2.0', id: 7, result: {} });
    await expect.poll(() => heard.join('')).toContain('"result"');
    expect(methods()).toEqual([ACKNOWLEDGED]);
  });
});

describe('a legacy HTTP server without a stream on which it speaks unasked', () => {
  let server: FakeServer;
  beforeEach(async () => {
    await world.close();
    server = await startFakeServer();
    server.say = (seen, res, req) => {
      if (seen.method === 'GET') res.writeHead(405).end();
      else politely(seen, res, req);
    };
    world = await startWorld(server.target, { who: [TRIAGE, OTHER] });
  });
  afterEach(() => server.close());

  test('the gateway keeps the promise of tools/list_changed for it', async () => {
    const { session, json } = await begin();
    expect(json.result.capabilities).toEqual({ tools: { listChanged: true } });
    const heard = listen(session);
    await expect.poll(() => heard).toEqual(['open']);
    world.policy.publish(policyFor(world.gateway.port, { allow: ['log'] }, 3n, [TRIAGE, OTHER]));
    await expect.poll(() => heard.join('')).toContain('notifications/tools/list_changed');
  });

  test('I94 a change that comes before the server has answered the client’s GET is told with its stream', async () => {
    const { session } = await begin();
    const asked = Promise.withResolvers<() => void>();
    server.say = (_, res) => asked.resolve(() => res.writeHead(405).end());
    const heard = listen(session);
    const refuse = await asked.promise;
    world.policy.publish(policyFor(world.gateway.port, { allow: ['log'] }, 3n, [TRIAGE, OTHER]));
    refuse();
    await expect.poll(() => changesIn(heard)).toBe(1);
  });

  test('I94 a stdio client of a server without sessions is notified of changed rules, too', async () => {
    server.say = (seen, res) => {
      if (seen.method === 'GET') res.writeHead(405).end();
      else if (seen.json?.id === undefined) res.writeHead(202).end();
      else reply(res, { jsonrpc: '2.0', id: seen.json.id, result: { capabilities: { tools: {} } } });
    };
    const [input, output] = [new PassThrough(), new PassThrough()];
    const heard: string[] = [];
    output.on('data', (chunk) => heard.push(String(chunk)));
    const connect = await connectTo(world, { kind: 'stdio', input, output });
    input.write(`${JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params: {} })}\n`);
    await expect.poll(() => heard.join('')).toContain('"id":0');
    input.write(`${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' })}\n`);
    await expect.poll(() => server.seen.some(({ method }) => method === 'GET')).toBe(true);
    world.policy.publish(policyFor(world.gateway.port, { allow: ['log'] }, 3n, [TRIAGE, OTHER]));
    await expect.poll(() => changesIn(heard)).toBe(1);
    await connect.close();
  });

  test('a client that resumes a stream is told that there is none', async () => {
    const { session } = await begin();
    const resumed = {
      method: 'GET',
      headers: { accept: 'text/event-stream', ...session, 'last-event-id': 'a' },
    };
    expect((await ask(world, world.td.svid(TRIAGE), resumed)).status).toBe(405);
  });
});

test('a policy that takes the last rule of a caller ends its session at the server, and no other', async () => {
  const { session } = await begin();
  await begin(OTHER);
  world.policy.publish(policyFor(world.gateway.port, { allow: ['*'] }, 3n, [OTHER]));
  const ended = () => world.events.filter(({ stage }) => stage === 'ended');
  await expect
    .poll(ended)
    .toMatchObject([
      { caller: TRIAGE, detail: 'no rule lets its caller in any more', session: expect.any(String) },
    ]);
  expect(ended()[0]?.session).toBe(session['mcp-session-id']);
});
