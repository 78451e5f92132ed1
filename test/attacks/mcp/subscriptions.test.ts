/** Subscriptions to changes of resources and lists, in both eras: only what was asked for, and what rules let pass. */
import type { ServerResponse } from 'node:http';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ask } from '../../kit/mcp/clients/ask.ts';
import {
  INITIALIZE,
  MODERN_META,
  modernHeaders,
  rpc,
  startPlayed,
  stopPlayed,
} from '../../kit/mcp/clients/caller.ts';
import { type Heard, hear } from '../../kit/mcp/clients/hear.ts';
import { type FakeServer, politely, reply, type Seen, stream } from '../../kit/mcp/servers/server.ts';
import { id, TOOLS, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

const OTHER = id('agents/other');
const [A, B] = ['file:///srv/a', 'file:///srv/b'];
const DENIED = -31403;
const UPDATED = 'notifications/resources/updated';
const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';
const ID_KEY = 'io.modelcontextprotocol/subscriptionId';
const RULES = {
  resources: { allow: ['file:///srv/*', 'file:///open/*'], deny: ['file:///srv/secret*'] },
  subscriptions: { allow: ['file:///srv/*', 'file:///etc/*'], deny: ['file:///srv/closed*', '*/hidden'] },
};
const { subscriptions: _, ...READS } = RULES;

let server: FakeServer;
let world: World;
let version: bigint;
/** What the server writes on: by its session, or each stream of `subscriptions/listen` in turn. */
let streams: Map<string, ServerResponse>;
let listens: ServerResponse[];
let heard: Heard[];
/** What the server agrees to of a filter; by default all of it. */
let agree: ((notifications: object) => object) | undefined;

/** What TRIAGE and OTHER may do from now on. */
function allow(blocks: object, ...more: object[]): void {
  const address = `127.0.0.1:${world.gateway.port}`;
  const where = McpServer.parse({ kind: 'McpServer', name: 'everything', identity: TOOLS, address });
  const whose = { kind: 'Access', who: [TRIAGE, OTHER], servers: ['everything'] };
  const rules = [blocks, ...more].map((each, at) => Access.parse({ ...whose, name: `rule-${at}`, ...each }));
  version += 1n;
  world.policy.publish(compilePolicy([where, ...rules], version));
}

beforeEach(async () => {
  [version, streams, listens, heard, agree] = [10n, new Map(), [], [], undefined];
  ({ server, world } = await startPlayed({ who: [TRIAGE, OTHER] }));
  allow(RULES);
  let sessions = 0;
  server.say = (seen, res, req) => {
    const { method, headers, json } = seen;
    if (method === 'GET') {
      stream(res, [], true);
      streams.set(String(headers['mcp-session-id']), res);
    } else if (json?.method === 'subscriptions/listen') {
      const asked = Reflect.get(json.params, 'notifications');
      stream(
        res,
        [
          {
            jsonrpc: '2.0',
            method: ACKNOWLEDGED,
            params: { notifications: (agree ?? ((all) => all))(asked) },
          },
        ],
        true,
      );
      listens.push(res);
    } else if (json?.method === 'initialize') {
      const capabilities = { resources: { subscribe: true, listChanged: true }, tools: {} };
      const result = { protocolVersion: '2025-11-25', capabilities, serverInfo: { name: 's', version: '1' } };
      reply(res, { jsonrpc: '2.0', id: json.id, result }, { 'mcp-session-id': `s${sessions++}` });
    } else politely(seen, res, req);
  };
});
afterEach(async () => {
  for (const each of heard) each.close();
  await stopPlayed(world, server);
});

type Headers = Record<string, string>;
const post = (body: string, headers: Headers = {}, caller = TRIAGE) =>
  ask(world, world.td.svid(caller), { body, headers });

async function begin(caller = TRIAGE): Promise<Headers> {
  const { headers } = await post(INITIALIZE, {}, caller);
  return { 'mcp-session-id': String(headers['mcp-session-id']) };
}
const subscribe = (session: Headers, uri: string, caller = TRIAGE) =>
  post(rpc('resources/subscribe', { uri }, uri), session, caller);
const unsubscribe = (session: Headers, uri: string, caller = TRIAGE) =>
  post(rpc('resources/unsubscribe', { uri }, uri), session, caller);

function listenIn(session: Headers, caller = TRIAGE): Heard {
  const stream = hear(world, world.td.svid(caller), { headers: session });
  heard.push(stream);
  return stream;
}

const METHOD = 'subscriptions/listen';
const filter = (notifications: object): string => rpc(METHOD, { notifications, _meta: MODERN_META }, 7);
function listen(notifications: object, caller = TRIAGE): Heard {
  const options = { body: filter(notifications), headers: modernHeaders(METHOD) };
  const stream = hear(world, world.td.svid(caller), options);
  heard.push(stream);
  return stream;
}
const refusedListen = (notifications: object) => post(filter(notifications), modernHeaders(METHOD));

const say = (res: ServerResponse | undefined, method: string, params: object = {}): void =>
  void res?.write(`data: ${JSON.stringify({ jsonrpc: '2.0', method, params })}\n\n`);
const told = (stream: Heard): readonly unknown[] =>
  stream.messages().flatMap(({ method, params }) => (method === UPDATED ? [params] : []));
const seenOf = (method: string): readonly Seen[] => server.seen.filter(({ json }) => json?.method === method);

/** A client that is subscribed to A, in each era, and the stream on which its server speaks to it. */
const ERAS = ['legacy', 'modern'] as const;
async function subscribed(era: (typeof ERAS)[number], caller = TRIAGE) {
  if (era === 'modern') {
    const stream = listen({ resourceSubscriptions: [A] }, caller);
    await expect.poll(() => stream.messages().length).toBe(1);
    return {
      stream,
      res: listens.at(-1),
      session: {},
      params: (uri: string) => ({ uri, _meta: { [ID_KEY]: 7 } }),
    };
  }
  const session = await begin(caller);
  expect((await subscribe(session, A, caller)).json.result).toEqual({});
  const stream = listenIn(session, caller);
  await stream.opened;
  return { stream, res: [...streams.values()].at(-1), session, params: (uri: string) => ({ uri }) };
}

test.each(ERAS)('a %s client hears of the resource that it subscribed to', async (era) => {
  const { stream, res, params } = await subscribed(era);
  say(res, UPDATED, { uri: A, title: 'HIDDEN' });
  say(res, UPDATED, { uri: `${A}/part` });
  await expect.poll(() => told(stream)).toEqual([params(A), params(`${A}/part`)]);
});

describe('M157 a subscription that the rules do not allow', () => {
  test.each([
    ['one that may not be read', 'file:///etc/passwd'],
    ['one that may only be read', 'file:///open/a'],
    ['one that another line forbids to read', 'file:///srv/secret'],
    ['one that a deny of subscriptions names', 'file:///srv/closed'],
    ['another spelling', 'FILE:///srv/a'],
    ['a dot segment', 'file:///srv/../etc/passwd'],
    ['an encoded one', 'file:///srv/..%2Fetc'],
    ['one whose denial cannot be decided', 'file:///srv/odd'],
  ])('%s: the server gets nothing of it', async (_name, uri) => {
    allow(RULES, { resources: { deny: ['*/odd'] }, when: 'int(source) > 0' });
    const session = await begin();
    expect((await subscribe(session, uri)).json.error.code).toBe(DENIED);
    expect(seenOf('resources/subscribe')).toEqual([]);
    expect((await refusedListen({ resourceSubscriptions: [uri] })).json.error.code).toBe(DENIED);
    expect(seenOf(METHOD)).toEqual([]);
    const stream = listen({ resourceSubscriptions: [uri, A], promptsListChanged: true });
    await expect.poll(() => stream.messages().length).toBe(1);
    const [{ json } = { json: undefined }] = seenOf(METHOD);
    expect(json?.params).toMatchObject({ notifications: { resourceSubscriptions: [A] } });
    expect(JSON.stringify(json)).not.toContain('promptsListChanged');
  });

  test.each<[string, object]>([
    ['a filter that is a number', { notifications: 7 }],
    ['URIs that are no list', { notifications: { resourceSubscriptions: A } }],
    ['a URI that is no text', { notifications: { resourceSubscriptions: [A, { uri: A }] } }],
    ['a URI that ends at NUL', { notifications: { resourceSubscriptions: [`${A}\0`] } }],
  ])('%s is not read', async (_name, params) => {
    const body = rpc(METHOD, { ...params, _meta: MODERN_META }, 7);
    const { json } = await post(body, modernHeaders(METHOD));
    expect(json.error.code).toBe(-32600);
    expect(seenOf(METHOD)).toEqual([]);
  });

  test('a resource that has more beside its URI is not read', async () => {
    const session = await begin();
    const { json } = await post(rpc('resources/subscribe', { uri: A, uris: [B] }, 1), session);
    expect(json.error.code).toBe(-32600);
    expect(seenOf('resources/subscribe')).toEqual([]);
  });
});

describe.each(ERAS)('M158 a server that tells a %s client', (era) => {
  test('of what it did not subscribe to, or may not be told of', async () => {
    const { stream, res, params } = await subscribed(era);
    const others = [
      B,
      `${A}b`,
      `${A}/hidden`,
      'file:///srv',
      'file:///srv/secret',
      'file:///etc/passwd',
      7,
      undefined,
    ];
    for (const uri of others) say(res, UPDATED, { uri, _meta: { [ID_KEY]: 7 } });
    say(res, 'notifications/prompts/list_changed');
    say(res, UPDATED, { uri: A });
    await expect.poll(() => told(stream)).toEqual([params(A)]);
    expect(stream.messages().map(({ method }) => method)).not.toContain('notifications/prompts/list_changed');
    expect(world.events.filter(({ stage, method }) => stage === 'dropped' && method === UPDATED)).not.toEqual(
      [],
    );
  });
});

describe('M159 a subscription whose rule is gone', () => {
  const rules: [string, object][] = [
    ['about the subscription', READS],
    ['about the resource', { ...RULES, resources: { allow: ['file:///open/*'] } }],
  ];
  test.each(rules)(
    '%s: a legacy client is told no more, and not again until it subscribes again',
    async (_, less) => {
      const { stream, res, session, params } = await subscribed('legacy');
      const barrier = async (times: number) => {
        say(res, UPDATED, { uri: A });
        say(res, 'notifications/tools/list_changed');
        const of = (method: string) => stream.messages().filter((each) => each.method === method).length;
        await expect.poll(() => of('notifications/tools/list_changed')).toBe(times);
      };
      allow(less);
      await barrier(1);
      allow(RULES);
      await barrier(2);
      expect(told(stream)).toEqual([]);
      await subscribe(session, A);
      await barrier(3);
      expect(told(stream)).toEqual([params(A)]);
    },
  );

  test.each(rules)('%s: the stream of a modern client ends, here and at the server', async (_, less) => {
    const { stream, res } = await subscribed('modern');
    const left = new Promise((resolve) => res?.once('close', resolve));
    allow(less);
    await Promise.all([stream.ended, left]);
    expect(stream.messages().at(-1)?.error.code).toBe(DENIED);
    await expect
      .poll(() => world.events)
      .toContainEqual(
        expect.objectContaining({
          ...{ stage: 'answered', method: METHOD, outcome: 'error' },
          detail: expect.stringMatching(/no rule lets .* listen to file:\/\/\/srv\/a any more/),
        }),
      );
    expect(told(stream)).toEqual([]);
  });

  test('what the client gives up goes to the server without a rule', async () => {
    const { session } = await subscribed('legacy');
    allow(READS);
    expect((await unsubscribe(session, A)).json.result).toEqual({});
    expect((await unsubscribe(session, A)).json.error.code).toBe(DENIED);
    expect(seenOf('resources/unsubscribe')).toHaveLength(1);
  });

  test('one that is denied while the server answers is none', async () => {
    const session = await begin();
    const stream = listenIn(session);
    await stream.opened;
    const before = server.say;
    server.say = (seen, res, req) => {
      if (seen.json?.method === 'resources/subscribe') allow(READS);
      before(seen, res, req);
    };
    await expect(subscribe(session, A)).rejects.toThrow();
    allow(RULES);
    const [res] = streams.values();
    say(res, UPDATED, { uri: A });
    say(res, 'notifications/tools/list_changed');
    await expect.poll(() => stream.messages().length).toBe(1);
    expect(told(stream)).toEqual([]);
  });
});

describe('M160 more subscriptions than the bounds', () => {
  const uris = (count: number): string[] => Array.from({ length: count }, (_, at) => `file:///srv/${at}`);

  test('of one session: the next is refused until it gives one up', async () => {
    const session = await begin();
    for (const uri of uris(256)) expect((await subscribe(session, uri)).json.result).toEqual({});
    // What it has costs nothing again.
    expect((await subscribe(session, 'file:///srv/0')).json.result).toEqual({});
    const { json } = await subscribe(session, A);
    expect(json.error).toMatchObject({
      code: DENIED,
      data: { reason: expect.stringMatching(/more resources/) },
    });
    await unsubscribe(session, 'file:///srv/0');
    expect((await subscribe(session, A)).json.result).toEqual({});
    expect((await subscribe(session, B)).json.error.code).toBe(DENIED);
  }, 60_000);

  test('of one caller: streams and sessions together, and another caller has its own', async () => {
    const all = () => listen({ resourceSubscriptions: uris(256) });
    const held = [all(), all(), all(), all()];
    for (const each of held) await expect.poll(() => each.messages().length).toBe(1);
    const session = await begin();
    expect((await subscribe(session, A)).json.error.code).toBe(DENIED);
    expect((await refusedListen({ resourceSubscriptions: [A] })).json.error.code).toBe(DENIED);
    expect((await subscribe(await begin(OTHER), A, OTHER)).json.result).toEqual({});
    held[0]?.close();
    await expect.poll(async () => (await subscribe(session, A)).json.result).toEqual({});
    // The end of a session frees its places, too: 255 are left besides its own.
    const more = listen({ resourceSubscriptions: uris(255) });
    await expect.poll(() => more.messages().length).toBe(1);
    expect((await refusedListen({ resourceSubscriptions: [A] })).json.error.code).toBe(DENIED);
    await ask(world, world.td.svid(TRIAGE), { method: 'DELETE', headers: session });
    const last = listen({ resourceSubscriptions: [A] });
    await expect.poll(() => last.messages().length).toBe(1);
    expect(last.messages()[0]?.method).toBe(ACKNOWLEDGED);
  });

  test('of one filter', async () => {
    const { json } = await refusedListen({ resourceSubscriptions: uris(257) });
    expect(json.error.code).toBe(-32600);
    expect(seenOf(METHOD)).toEqual([]);
  });
});

describe.each(ERAS)('M161 what another %s client subscribed to', (era) => {
  test('is not told to this one, and this one cannot end it', async () => {
    const first = await subscribed(era);
    const same = await (era === 'legacy' ? begin() : {});
    const second =
      era === 'legacy' ? listenIn(same) : listen({ resourceSubscriptions: [B], toolsListChanged: true });
    await second.opened;
    await expect.poll(() => (era === 'legacy' ? streams.size : listens.length)).toBe(2);
    const res = era === 'legacy' ? [...streams.values()].at(-1) : listens.at(-1);
    say(res, UPDATED, { uri: A, _meta: { [ID_KEY]: 7 } });
    say(res, 'notifications/tools/list_changed');
    await expect.poll(() => second.messages().at(-1)?.method).toBe('notifications/tools/list_changed');
    expect(told(second)).toEqual([]);
    if (era === 'legacy') {
      // It goes to its own session at the server, and no further.
      await unsubscribe(same, A);
      expect(seenOf('resources/unsubscribe').map(({ headers }) => headers['mcp-session-id'])).toEqual(['s1']);
      expect((await subscribe(first.session, B, OTHER)).status).toBe(404);
    } else second.close();
    say(first.res, UPDATED, { uri: A });
    await expect.poll(() => told(first.stream)).toEqual([first.params(A)]);
  });
});

describe('M162 a server that agrees to more, or speaks before it agrees', () => {
  test('is heard of what the client asked for, after that', async () => {
    agree = (asked) => ({
      ...asked,
      promptsListChanged: true,
      resourceSubscriptions: [A, B],
      hidden: 'HIDDEN',
    });
    const stream = listen({ resourceSubscriptions: [A], toolsListChanged: true });
    await expect.poll(() => stream.messages().length).toBe(1);
    expect(stream.messages()[0]?.params).toEqual({
      notifications: { toolsListChanged: true, resourceSubscriptions: [A] },
      _meta: { [ID_KEY]: 7 },
    });
    const [res] = listens;
    say(res, ACKNOWLEDGED, { notifications: { resourceSubscriptions: [B] } });
    say(res, 'notifications/prompts/list_changed');
    say(res, UPDATED, { uri: B });
    say(res, 'notifications/tools/list_changed', { hidden: 'HIDDEN' });
    await expect.poll(() => stream.messages().length).toBe(2);
    expect(stream.messages()[1]).toEqual({
      jsonrpc: '2.0',
      method: 'notifications/tools/list_changed',
      params: { _meta: { [ID_KEY]: 7 } },
    });
  });

  test('of nothing before it agrees, and of nothing that it did not agree to', async () => {
    agree = () => ({ resourceSubscriptions: [B] });
    const before = server.say;
    server.say = (seen, res, req) => {
      if (seen.json?.method !== METHOD) return before(seen, res, req);
      stream(res, [{ jsonrpc: '2.0', method: UPDATED, params: { uri: B } }], true);
      say(res, ACKNOWLEDGED, { notifications: { resourceSubscriptions: [B] } });
      listens.push(res);
    };
    const client = listen({ resourceSubscriptions: [A, B] });
    await expect.poll(() => client.messages().length).toBe(1);
    say(listens[0], UPDATED, { uri: A });
    say(listens[0], UPDATED, { uri: B });
    await expect.poll(() => told(client)).toEqual([{ uri: B, _meta: { [ID_KEY]: 7 } }]);
    expect(client.messages()[0]?.method).toBe(ACKNOWLEDGED);
  });

  test.each<[string, object, boolean]>([
    ['with a rule', RULES, true],
    ['without one', READS, false],
  ])('a client learns that it may subscribe %s: %s', async (_name, rules, may) => {
    allow(rules);
    const begun = await post(INITIALIZE);
    const { capabilities } = begun.json.result;
    expect(capabilities).toMatchObject({ resources: { listChanged: true } });
    expect(JSON.stringify(capabilities).includes('subscribe')).toBe(may);
  });
});
