/**
 * Attacks by way of sessions, streams and time: other people's sessions, certificates that end, servers that
 * overstep.
 */
import { Agent, request } from 'node:https';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeAuthority } from '../../kit/certificates.ts';
import { MovableClock } from '../../kit/clock.ts';
import { type Answer, ask } from '../../kit/mcp/clients/ask.ts';
import { callerOf, rpc, startPlayed, stopPlayed } from '../../kit/mcp/clients/caller.ts';
import { type FakeServer, politely, reply, stream } from '../../kit/mcp/servers/server.ts';
import {
  id,
  policyFor,
  startWorld,
  TRIAGE,
  TrustDomainInMemory,
  type World,
} from '../../kit/mcp/world/world.ts';

/** An error of the call's own is HTTP 200, too. */
const RESULT = { status: 200, text: expect.stringContaining('"result"') };

const OTHER = id('agents/other');
let server: FakeServer;
let world: World;
let clock: MovableClock;
let svid: Svid;
beforeEach(async () => {
  clock = new MovableClock();
  const tools = { allow: ['echo', 'get-*'], deny: ['get-env'] };
  ({ server, world } = await startPlayed({ tools, clock, who: [TRIAGE, OTHER] }));
  svid = world.td.svid(TRIAGE);
});
afterEach(() => stopPlayed(world, server));

const { post, begin, listen } = callerOf(
  () => world,
  () => svid,
);
const call = (method = 'tools/call', params: object = { name: 'echo' }, callId: number | string = 1) =>
  rpc(method, params, callId);

const openStream: FakeServer['say'] = (seen, res, req) =>
  seen.method === 'GET' ? stream(res, [], true) : politely(seen, res, req);

describe('M13: a session is its beginner’s', () => {
  test("the server's own id is not shown, and ours is given back as its", async () => {
    const session = await begin();
    expect(session['mcp-session-id']).not.toBe('upstream-session');
    await post(call(), session);
    expect(server.seen.at(-1)?.headers['mcp-session-id']).toBe('upstream-session');
  });

  test.each([
    ['a call', { body: call() }],
    ['a notification', { body: JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' }) }],
    ['a stream', { method: 'GET' }],
    ['a resumed stream', { method: 'GET', headers: { 'last-event-id': '1' } }],
    ['the end of the session', { method: 'DELETE' }],
  ])('%s in the session of another SPIFFE ID is 404', async (_name, options) => {
    const session = await begin();
    server.seen.length = 0;
    const other = world.td.svid(OTHER);
    const answer = await ask(world, other, {
      ...options,
      headers: { ...session, ...(options as { headers?: object }).headers },
    });
    expect(answer.status).toBe(404);
    expect(world.events.at(-1)).toMatchObject({ stage: 'refused', code: 'mcp_session', caller: OTHER });
    expect(server.seen).toEqual([]);
    expect(await post(call(), session)).toMatchObject(RESULT);
  });

  test('an id that nobody was given, and the upstream’s own, are 404', async () => {
    await begin();
    for (const name of ['x', 'upstream-session', '__proto__'])
      expect((await post(call(), { 'mcp-session-id': name })).status).toBe(404);
  });

  test('an event id without a session opens nothing', async () => {
    const answer = await ask(world, svid, { method: 'GET', headers: { 'last-event-id': '1' } });
    expect(answer.status).toBe(404);
    expect(server.seen).toEqual([]);
  });

  test('after its end, and after the server has forgotten it, it is gone', async () => {
    const ended = await begin();
    expect((await ask(world, svid, { method: 'DELETE', headers: ended })).status).toBe(202);
    expect((await post(call(), ended)).status).toBe(404);
    const lost = await begin();
    server.say = (_seen, res) =>
      reply(res, { jsonrpc: '2.0', id: null, error: { code: -32001, message: 'gone' } }, {}, 404);
    expect((await post(call(), lost)).json.error.code).toBe(-32001);
    server.say = politely;
    expect((await post(call(), lost)).json.error.code).toBe(-32001);
  });

  test('one id cannot be asked twice at once', async () => {
    const session = await begin();
    server.say = () => {};
    const first = post(call(), session).catch(() => {});
    await expect.poll(() => server.seen.length).toBe(2);
    expect((await post(call(), session)).status).toBe(400);
    await world.close();
    await first;
  });
});

describe('M91: sessions that a caller asks for at once', () => {
  const initialize = call('initialize', { protocolVersion: '2025-11-25', capabilities: {} });
  const begun = ({ headers }: Answer): boolean => headers['mcp-session-id'] !== undefined;
  const waiting: (() => void)[] = [];
  beforeEach(async () => {
    waiting.length = 0;
    await world.close();
    world = await startWorld(server.target, { sessions: { max: 10 }, who: [TRIAGE, OTHER] });
    svid = world.td.svid(TRIAGE);
    server.say = (...seen) => void waiting.push(() => politely(...seen));
  });

  test('are no more than it may have, while the server has answered none, and leave room for others', async () => {
    const refused: Answer[] = [];
    const many = Array.from({ length: 20 }, async () => {
      const answer = await post(initialize);
      if (answer.status === 503) refused.push(answer);
      return answer;
    });
    await expect.poll(() => refused).toHaveLength(15);
    const other = post(initialize, {}, world.td.svid(OTHER));
    await expect.poll(() => waiting).toHaveLength(6);
    for (const answer of waiting.splice(0)) answer();
    expect((await Promise.all(many)).filter(begun)).toHaveLength(5);
    expect(begun(await other)).toBe(true);
  });

  test.each([
    ['the server refuses', (answer: () => void) => answer()],
    ['the client leaves', (_answer: () => void, leave: () => void) => leave()],
  ])('leave their places where none is begun: %s', async (_name, end) => {
    server.say = (_seen, res) => void waiting.push(() => reply(res, { error: 'no' }, {}, 500));
    const left = new AbortController();
    const asked = { body: initialize, signal: left.signal };
    const five = Array.from({ length: 5 }, () => ask(world, svid, asked).catch(() => {}));
    await expect.poll(() => waiting).toHaveLength(5);
    expect((await post(initialize)).status).toBe(503);
    for (const answer of waiting.splice(0)) end(answer, () => left.abort());
    await Promise.all(five);
    server.say = politely;
    await expect.poll(async () => begun(await post(initialize))).toBe(true);
  });
});

describe('M15, M16: nothing outlives an identity', () => {
  test('M16 a stream is cut at notAfter, with its connection', async () => {
    server.say = openStream;
    const { closed } = await listen(await begin());
    clock.move(3_602);
    await closed;
  });

  test('M16 a request on an open connection is refused at notAfter, timer or not', async () => {
    let now = new Date();
    const timeless = { now: () => now, sleepUntil: () => new Promise<void>(() => {}) };
    const other = await startWorld(server.target, { clock: timeless });
    const late = other.td.svid(TRIAGE, 1_800);
    const tls = { ...clientTls(late, other.td.bundle.current()), checkServerIdentity: () => undefined };
    const agent = new Agent({ keepAlive: true, maxSockets: 1, ...tls });
    now = new Date(late.notAfter.getTime() - 1);
    expect(await ask(other, undefined, { agent, body: call() })).toMatchObject(RESULT);
    now = late.notAfter;
    expect((await ask(other, undefined, { agent, body: call() })).status).toBe(401);
    expect(other.events.at(-1)).toMatchObject({ stage: 'refused', code: 'expired_peer' });
    agent.destroy();
    await other.close();
  });

  test('M16 an expired certificate gets no connection', async () => {
    clock.move(3_602);
    await expect(post(call())).rejects.toThrow();
    expect(world.events[0]).toMatchObject({ stage: 'refused', code: 'expired_peer', caller: undefined });
  });

  test('M15 a policy that no longer lets the caller in cuts its streams at once', async () => {
    server.say = openStream;
    const { closed } = await listen(await begin());
    world.policy.publish(policyFor(world.gateway.port, { allow: ['*'] }, 3n, [OTHER]));
    await closed;
  });

  test('M15 a bundle without the authority cuts its peers at once', async () => {
    server.say = openStream;
    const { closed } = await listen(await begin());
    const { trustDomain } = world.td.bundle.current();
    const authorities = [makeAuthority('another').certificate.der];
    world.td.bundle.publish({ trustDomain, authorities, sequence: 2n });
    await closed;
    expect(world.events.at(-1)).toMatchObject({ stage: 'refused', code: 'chain' });
  });

  test('a new policy decides the very next call', async () => {
    expect((await post(call())).json.result).toBeDefined();
    world.policy.publish(policyFor(world.gateway.port, { allow: ['other'] }, 3n));
    expect((await post(call())).json.error.code).toBe(-31403);
  });

  test.each([
    ['no certificate', () => undefined, 'no_peer'],
    ['another trust domain’s', () => new TrustDomainInMemory().svid(TRIAGE), 'chain'],
  ])('%s gets no connection', async (_name, as, code) => {
    await expect(ask(world, as(), { body: call() })).rejects.toThrow();
    expect(world.events[0]).toMatchObject({ stage: 'refused', code, caller: undefined });
    expect(server.seen).toEqual([]);
  });
});

describe('M20: no record, no call', () => {
  test.each([
    ['the decision', 'decided', 500, 0],
    // It has happened: withholding the answer would only make the client call again.
    ['the answer', 'answered', 200, 1],
  ] as const)('where %s cannot be recorded', async (_name, stage, status, reached) => {
    const record = (event: { stage: string }): void => {
      if (event.stage !== stage) return;
      throw new IdentityError('file', 'the disk is full');
    };
    const full = await startWorld(server.target, { record });
    const answer = await ask(full, full.td.svid(TRIAGE), { body: call() });
    expect(answer.status).toBe(status);
    expect(server.seen).toHaveLength(reached);
    await full.close();
  });

  test('a refusal that cannot be recorded is a refusal', async () => {
    const record = (): void => {
      throw new IdentityError('file', 'the disk is full');
    };
    const full = await startWorld(server.target, { record });
    expect((await ask(full, full.td.svid(TRIAGE), { body: '[]' })).status).toBe(400);
    await full.close();
  });
});

describe('M21: a server says no more than it was asked', () => {
  const result = (answerId: unknown) => ({ jsonrpc: '2.0', id: answerId, result: { content: [] } });
  const asking = (method: string) => ({ jsonrpc: '2.0', id: 'server-1', method, params: {} });

  test.each([
    ['an answer to another id', (res) => reply(res, result(2))],
    ['an answer to the id as text', (res) => reply(res, result('1'))],
    ['a request instead of an answer', (res) => reply(res, asking('ping'))],
    ['what cannot be read', (res) => reply(res, '{"jsonrpc":"2.0","id":1,"result":{},"result":{}}')],
    ['a list without tools', (res) => reply(res, { jsonrpc: '2.0', id: 1, result: {} })],
    ['a redirect', (res) => res.writeHead(302, { location: 'http://169.254.169.254/' }).end()],
    ['a challenge', (res) => res.writeHead(401, { 'www-authenticate': 'Bearer' }).end()],
    ['nothing', (res) => res.destroy()],
    ['202 to a request', (res) => res.writeHead(202).end()],
  ] as [string, (res: Parameters<FakeServer['say']>[1]) => void][])('%s', async (_name, say) => {
    server.say = (_seen, res) => say(res);
    const answer = await post(call('tools/list', {}));
    expect(answer).toMatchObject({ status: 200, json: { id: 1, error: { code: -31502 } } });
    expect(answer.headers['www-authenticate']).toBeUndefined();
    expect(server.seen).toHaveLength(1);
    expect(world.events.at(-1)?.stage).toMatch(/dropped|answered/);
  });

  test('in a stream, what was not asked is left out and the answer comes', async () => {
    const told = (method: string) => ({ jsonrpc: '2.0', method, params: { level: 'info' } });
    server.say = (_seen, res) =>
      stream(res, [
        result(9),
        told('notifications/message'),
        told('notifications/resources/updated'),
        asking('ping'),
        result(1),
      ]);
    const { text } = await post(call());
    const lines = text.match(/^data: .*$/gm)?.map((line) => JSON.parse(line.slice(6)));
    expect(lines).toMatchObject([{ method: 'notifications/message' }, { id: 1, result: {} }]);
    expect(world.events.filter(({ stage }) => stage === 'dropped')).toHaveLength(3);
  });

  test('two bad messages in one piece end the stream once', async () => {
    const bad = { jsonrpc: '2.0', id: 1, result: {} };
    server.say = (_seen, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.end(`data: ${JSON.stringify(bad)}\n\n: alive\n\ndata: ${JSON.stringify(bad)}\n\n`);
    };
    const { text } = await post(call('tools/list', {}));
    expect(text.match(/^data: .*$/gm)).toHaveLength(1);
    expect(await post(call())).toMatchObject(RESULT);
  });

  test('a list in a stream is filtered', async () => {
    const tools = ['get-env', 'echo'].map((name) => ({ name }));
    server.say = (_seen, res) => stream(res, [{ jsonrpc: '2.0', id: 1, result: { tools } }]);
    expect((await post(call('tools/list', {}))).json.result.tools).toEqual([{ name: 'echo' }]);
  });

  test('unreadable events end the stream with an error for the request', async () => {
    server.say = (_seen, res) => stream(res, ['{"jsonrpc":"2.0","id":1,"result":{},"x":1}', result(1)]);
    expect((await post(call())).json).toMatchObject({ id: 1, error: { code: -31502 } });
  });

  test('a question to the client in the shape of an answer is a denial', async () => {
    const asked = { resultType: 'input_required', inputRequests: {}, requestState: 's' };
    server.say = (_seen, res) => reply(res, { jsonrpc: '2.0', id: 1, result: asked });
    expect((await post(call())).json).toMatchObject({ id: 1, error: { code: -31403 } });
  });

  test.each(['sampling/createMessage', 'elicitation/create', 'roots/list', 'tools/call'])(
    'a server’s %s is refused to it and never reaches the client',
    async (method) => {
      const session = await begin();
      server.seen.length = 0;
      server.say = (seen, res, req) =>
        seen.json?.method === 'tools/call'
          ? stream(res, [asking(method), result(1)])
          : politely(seen, res, req);
      const { text } = await post(call(), session);
      expect(text).not.toContain(method);
      await expect.poll(() => server.seen.length).toBe(2);
      expect(server.seen[1]?.json).toMatchObject({ id: 'server-1', error: { code: -31403 } });
    },
  );

  test('a ping reaches the client, whose answer goes back once', async () => {
    const session = await begin();
    server.say = (seen, res, req) =>
      seen.json?.method === 'tools/call'
        ? stream(res, [asking('ping'), result(1)])
        : politely(seen, res, req);
    expect((await post(call(), session)).text).toContain('"method":"ping"');
    const pong = JSON.stringify({ jsonrpc: '2.0', id: 'server-1', result: {} });
    expect((await post(pong, {}, svid)).status).toBe(400);
    expect((await post(pong, session)).status).toBe(202);
    expect((await post(pong, session)).status).toBe(400);
    expect(server.seen.filter(({ json }) => json?.id === 'server-1')).toHaveLength(1);
  });

  test('a client that leaves takes its request along', async () => {
    const gone = new Promise<void>((resolve) => {
      server.say = (_seen, res) => res.on('close', resolve);
    });
    const tls = {
      ...clientTls(svid, world.td.bundle.current()),
      checkServerIdentity: () => undefined,
      agent: false as const,
    };
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
    const outgoing = request({
      ...tls,
      host: '127.0.0.1',
      port: world.gateway.port,
      path: '/mcp',
      method: 'POST',
      headers,
    });
    outgoing.on('error', () => {});
    outgoing.end(call());
    await expect.poll(() => server.seen.length).toBe(1);
    outgoing.destroy();
    await gone;
    await expect.poll(() => world.events.at(-1)?.outcome).toBe('abandoned');
  });
});
