/** What a client of the union learns, and keeps, while a server is away. */
import { afterEach, expect, test } from 'vitest';
import { reply, stream } from '../../../../../test/kit/mcp/servers/server.ts';
import {
  type Scripted,
  startUnionWorld,
  tool,
  type UnionWorld,
} from '../../../../../test/kit/mcp/world/union-world.ts';

const WAIT = { timeout: 20_000 };
const CALL = { name: 'mail__send' };
const BOTH = ['git__get', 'mail__send'];
const ofTools = (...names: string[]) => ({ 'tools/list': { tools: names.map(tool) } });
let union: UnionWorld | undefined;
afterEach(async () => {
  await union?.close();
  union = undefined;
});

async function start(mail: Scripted = {}, git: Scripted = {}, names: readonly string[] = BOTH) {
  union = await startUnionWorld({ results: ofTools('get'), ...git }, { results: ofTools('send'), ...mail });
  if (names.length === 1) union.reach('git');
  await union.client.begin();
  await expect.poll(() => union?.client.names(), WAIT).toEqual(names);
  return union;
}

/** The server breaks every connection until the returned function. */
function breakOff({ servers }: UnionWorld): () => void {
  const { say } = servers.mail;
  servers.mail.say = (_seen, res) => void res.destroy();
  return () => {
    servers.mail.say = say;
  };
}

/** Resolves when the union has seen it. A call would wait for the list of tools. */
async function takeDown(world: UnionWorld): Promise<() => void> {
  const restore = breakOff(world);
  const read = async () => (await world.client.ask('resources/read', { uri: 'mcp-mail+file:///a' })).error;
  await expect.poll(async () => (await read())?.message, WAIT).toMatch('mail does not answer');
  return restore;
}

const seen = ({ servers }: UnionWorld, server: 'git' | 'mail', method: string) =>
  servers[server].seen.filter(({ json }) => json?.method === method).map(({ json }) => json.params);

test('a call of a server that is down fails, and says that it was not sent', async () => {
  const world = await start();
  await takeDown(world);
  const before = seen(world, 'mail', 'tools/call').length;
  const { error } = await world.client.ask('tools/call', CALL);
  expect(error).toMatchObject({ code: -31502 });
  expect(error?.message).toMatch(/^the MCP server mail does not answer: .+; the call was not sent$/);
  expect(error?.message).not.toContain('may have done');
  expect(error?.data).toBeUndefined();
  expect(seen(world, 'mail', 'tools/call')).toHaveLength(before);
});

test('a list from a session that is over is not shown', async () => {
  let answer = (): void => {};
  const odd: Scripted['odd'] = ({ json }, res) => {
    if (json?.method !== 'tools/list') return false;
    answer = () => reply(res, { jsonrpc: '2.0', id: json.id, result: ofTools('old')['tools/list'] });
    return true;
  };
  const world = await start({ odd }, {}, ['git__get']);
  world.reach('git', 'mail');
  const { client, servers } = world;
  await expect
    .poll(async () => (await client.names()).length + seen(world, 'mail', 'tools/list').length, WAIT)
    .toBe(2);
  await takeDown(world);
  answer();
  // The session ends once its last answer was read.
  await expect.poll(() => servers.mail.seen.some(({ method }) => method === 'DELETE'), WAIT).toBe(true);
  expect(await client.names()).toEqual(['git__get']);
});

test('a question ends for the client when its server goes down', async () => {
  const params = { message: 'Sure?', requestedSchema: { type: 'object', properties: {} } };
  const question = { jsonrpc: '2.0', id: 'q', method: 'elicitation/create', params };
  const odd: Scripted['odd'] = ({ json }, res) => {
    if (json?.method !== 'tools/call') return false;
    stream(res, [question], true);
    return true;
  };
  const world = await start({ odd });
  const { client } = world;
  client.write({ id: 'asks', method: 'tools/call', params: CALL });
  const asked = () => client.told.find(({ method }) => method === 'elicitation/create');
  await expect.poll(() => asked()?.['params'], WAIT).toMatchObject({ message: 'mail: Sure?' });
  await takeDown(world);
  const cancelled = { method: 'notifications/cancelled', params: { requestId: asked()?.id } };
  await expect.poll(() => client.told, WAIT).toContainEqual({ jsonrpc: '2.0', ...cancelled });
});

test('the end of what was asked by URL is told, under the id that the client was shown', async () => {
  const elicited = 'notifications/elicitation/complete';
  const odd: Scripted['odd'] = ({ json }, res) => {
    if (json?.method !== 'tools/call') return false;
    const note = { jsonrpc: '2.0', method: elicited, params: { elicitationId: 'e' } };
    stream(res, [note, { jsonrpc: '2.0', id: json.id, result: { content: [] } }]);
    return true;
  };
  const { client } = await start({ odd });
  expect((await client.ask('tools/call', CALL)).result).toEqual({ content: [] });
  const told = client.told.filter(({ method }) => method === elicited);
  expect(told).toMatchObject([{ params: { elicitationId: 'mail/e' } }]);
});

/** A server that has a log. It denies levels with `denial`. */
const logs = (name: string, denial?: object): Scripted => ({
  results: {
    ...ofTools(name),
    initialize: {
      protocolVersion: '2025-11-25',
      capabilities: { tools: {}, logging: {} },
      serverInfo: { name: 'logs', version: '1' },
    },
  },
  odd: ({ json }, res) => {
    if (json?.method === 'initialize') {
      reply(
        res,
        { jsonrpc: '2.0', id: json.id, result: logs(name).results?.['initialize'] },
        { 'mcp-session-id': 's' },
      );
      return true;
    }
    if (json?.method !== 'logging/setLevel' || denial === undefined) return false;
    reply(res, { jsonrpc: '2.0', id: json.id, error: denial });
    return true;
  },
});
const LEVEL = { level: 'error' };
const levels = (world: UnionWorld, server: 'git' | 'mail') => seen(world, server, 'logging/setLevel');

test('a server that comes back is told the level of log messages again', async () => {
  const world = await start(logs('send'));
  expect((await world.client.ask('logging/setLevel', LEVEL)).result).toEqual({});
  expect(levels(world, 'mail')).toEqual([LEVEL]);
  const restore = await takeDown(world);
  restore();
  await expect.poll(() => levels(world, 'mail'), WAIT).toEqual([LEVEL, LEVEL]);
});

test('a server that is away when a level is set is told it later', async () => {
  const world = await start(logs('send'));
  const restore = breakOff(world);
  expect((await world.client.ask('logging/setLevel', LEVEL)).result).toEqual({});
  await takeDown(world);
  const before = levels(world, 'mail').length;
  restore();
  await expect.poll(() => levels(world, 'mail').slice(before), WAIT).toEqual([LEVEL]);
});

test('a server that joins later is told the level, also where there was no log before', async () => {
  const world = await start(logs('send'), {}, ['git__get']);
  expect((await world.client.ask('logging/setLevel', LEVEL)).result).toEqual({});
  world.reach('git', 'mail');
  await expect.poll(() => levels(world, 'mail'), WAIT).toEqual([LEVEL]);
  expect(levels(world, 'git')).toEqual([]);
});

test('a level that each server denies is an error and is not kept, one that a server takes is none', async () => {
  const denial = { code: -32602, message: 'no such level' };
  const world = await start(logs('send', denial), logs('get', denial));
  const { client, servers } = world;
  expect((await client.ask('logging/setLevel', LEVEL)).error).toMatchObject(denial);
  expect(levels(world, 'git')).toEqual([LEVEL]);
  const restore = await takeDown(world);
  restore();
  await expect.poll(() => client.names(), WAIT).toEqual(BOTH);
  expect(levels(world, 'mail')).toEqual([LEVEL]);
  const { say } = servers.git;
  servers.git.say = (each, res, req) =>
    each.json?.method === 'logging/setLevel'
      ? reply(res, { jsonrpc: '2.0', id: each.json.id, result: {} })
      : say(each, res, req);
  expect((await client.ask('logging/setLevel', LEVEL)).result).toEqual({});
  for (const params of [{}, { level: 5 }])
    expect((await client.ask('logging/setLevel', params)).error?.code).toBe(-32602);
});

test('a server that never ends the exchange of `initialized` is up all the same', async () => {
  const odd: Scripted['odd'] = ({ json }) => json?.method === 'notifications/initialized';
  await start({ odd });
});
