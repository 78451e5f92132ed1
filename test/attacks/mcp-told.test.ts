/** What a stdio server and the gateway tell unasked: it reaches the one whom it concerns, and nobody else. */
import { request } from 'node:https';
import { allowedEnvironment } from '@chancery/agent/mcp/upstream/command.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ask, id, policyFor, startWorld, TRIAGE, type World } from '../kit/mcp/world.ts';

const OTHER = id('agents/other');
/** Says something at once; `log` logs before it answers. */
const SERVER = `
const say = (message) => console.log(JSON.stringify({ jsonrpc: '2.0', ...message }));
const log = (data) => say({ method: 'notifications/message', params: { level: 'info', data } });
log('hello');
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  if (params?.name === 'log') log('working for ' + id);
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
    rulesFor: (caller, server) => (caller === TRIAGE ? less : both).rulesFor(caller, server),
  });
  await expect.poll(() => changes(heard)).toBe(1);
  // What is sent to both now is behind whatever was sent before.
  world.policy.publish(policyFor(port, { allow: ['none'] }, 5n, [TRIAGE, OTHER]));
  await expect.poll(() => [changes(heard), changes(other)]).toEqual([2, 1]);
});

test('in the modern era log messages come with the request that asked for them', async () => {
  const META = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const call = (more: object) =>
    post(
      { id: 7, method: 'tools/call', params: { name: 'log', _meta: { ...META, ...more } } },
      { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'log' },
    );
  expect((await call({})).text).not.toContain('working');
  const { text } = await call({ 'io.modelcontextprotocol/logLevel': 'info' });
  expect(text).toContain('working for 2');
  expect(text).toContain('"id":7');
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
