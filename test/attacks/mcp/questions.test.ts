/** Attacks with questions of a server to its client, and with answers to them, in the legacy era. */
import type { ServerResponse } from 'node:http';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { callerOf, callOf, rpc, startPlayed, stopPlayed } from '../../kit/mcp/clients/caller.ts';
import { type OpenStream, openStream } from '../../kit/mcp/clients/open-stream.ts';
import { type FakeServer, politely, type RpcJson, reply } from '../../kit/mcp/servers/server.ts';
import { id, TOOLS, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

const OTHER = id('agents/other');
let server: FakeServer;
let world: World;
let version = 10n;
/** What the server has not answered yet: by the id of the call, and `GET` for the stream of the session. */
const open = new Map<number | string, ServerResponse>();
/** Answers of the client, or of the gateway, to the server's questions. */
const answers: RpcJson[] = [];
const { post, begin } = callerOf(() => world);

beforeEach(async () => {
  ({ server, world } = await startPlayed());
  open.clear();
  answers.length = 0;
  server.say = (seen, res, req) => {
    const { method, json } = seen;
    const isTask = json?.params !== undefined && Reflect.has(json.params, 'task');
    if (isTask) return reply(res, { jsonrpc: '2.0', id: json.id, result: { task: TASK } });
    if (method === 'GET' || HELD.has(json?.method)) {
      res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      open.set(method === 'GET' ? 'GET' : json.id, res);
      return;
    }
    if (json !== undefined && json.method === undefined) answers.push(json);
    politely(seen, res, req);
  };
  publish(ALL);
});
afterEach(() => stopPlayed(world, server));

/** What the server answers later. */
const HELD = new Set(['tools/call', 'tools/list', 'ping', 'resources/subscribe']);
for (const about of ['get', 'result', 'cancel']) HELD.add(`tasks/${about}`);
const TASK = { taskId: 't1', status: 'working', ttl: 60_000 };
const ALL = {
  sampling: { allow: ['*'] },
  elicitation: { allow: ['*'], modes: ['form', 'url'] },
  roots: true,
};
/** Rules for both callers. Those of `more` stand beside. */
function publish(blocks: object, ...more: readonly object[]): void {
  const address = `127.0.0.1:${world.gateway.port}`;
  const everything = { kind: 'McpServer', name: 'everything', identity: TOOLS, address };
  const rule = (each: object, at: number) =>
    Access.parse({
      ...{ kind: 'Access', name: `rule-${at}`, who: [TRIAGE, OTHER], servers: ['everything'] },
      ...each,
    });
  version += 1n;
  const rules = [{ tools: { allow: ['*'] }, ...blocks }, ...more].map(rule);
  world.policy.publish(compilePolicy([McpServer.parse(everything), ...rules], version));
}

const SAMPLE = rpc('sampling/createMessage', { messages: [], maxTokens: 9 }, 's1');
const FORM = rpc('elicitation/create', { message: 'Name?', requestedSchema: { type: 'object' } }, 's1');
const BY_URL = rpc(
  'elicitation/create',
  { mode: 'url', url: 'https://a.example', elicitationId: 'e', message: 'm' },
  's1',
);
const ROOTS = rpc('roots/list', {}, 's1');
const ACCEPTED = { action: 'accept', content: { name: 'Alice' } };
const SAMPLED = { role: 'assistant', model: 'm', content: { type: 'text', text: 'x' } };

const answer = (to: number | string, result: object) => JSON.stringify({ jsonrpc: '2.0', id: to, result });
const say = (on: number | string, message: string) => open.get(on)?.write(`data: ${message}\n\n`);
const finish = (call: number) =>
  open.get(call)?.end(`data: ${JSON.stringify({ jsonrpc: '2.0', id: call, result: { content: [] } })}\n\n`);

type Session = Record<string, string>;
/** A call that its server has begun to answer. */
const begunCall = (session: Session, call = 1, tool = 'echo') => begun(session, call, callOf(call, tool));
async function begun(session: Session, call: number, body: string): Promise<OpenStream> {
  const stream = openStream(world, world.td.svid(TRIAGE), session, body);
  await expect.poll(() => open.has(call)).toBe(true);
  // The head is passed on with the first event.
  say(call, rpc('notifications/progress', { progressToken: 1, progress: 1 }));
  return stream;
}
async function listening(session: Session): Promise<OpenStream> {
  const stream = openStream(world, world.td.svid(TRIAGE), session);
  await expect.poll(() => open.has('GET')).toBe(true);
  return stream;
}
/** A call and the question that reached its client. */
async function questioned(question = FORM) {
  const session = await begin();
  const call = await begunCall(session);
  say(1, question);
  return { session, call, question: await call.message(1) };
}
const about = (method: string) =>
  world.events.filter((event) => event.method === method).map(({ time: _, ...event }) => event);
const REFUSED = { id: 's1', error: { code: -31403 } };

describe('M145 a question that no rule lets the server ask', () => {
  test.each<[string, string, object, string, string?]>([
    ['sampling', SAMPLE, { elicitation: { allow: ['*'] }, roots: true }, 'sampling/createMessage'],
    ['a form', FORM, { sampling: { allow: ['*'] }, roots: true }, 'elicitation/create'],
    ['a URL, where forms may be', BY_URL, { elicitation: { allow: ['*'] } }, 'elicitation/create'],
    ['roots', ROOTS, { ...ALL, roots: undefined }, 'roots/list'],
    ['sampling for another tool', SAMPLE, { sampling: { allow: ['other'] } }, 'sampling/createMessage'],
    [
      'a form during a tool that is denied it',
      FORM,
      { elicitation: { allow: ['*'], deny: ['echo'] } },
      'elicitation/create',
    ],
    [
      'a mode that there is not',
      FORM.replace('"message"', '"mode":"app","message"'),
      ALL,
      'elicitation/create',
    ],
    [
      'a task of the client',
      SAMPLE.replace('"maxTokens"', '"task":{"ttl":1},"maxTokens"'),
      ALL,
      'sampling/createMessage',
    ],
    ['a method that asks for nothing', rpc('tools/list', {}, 's1'), ALL, 'tools/list'],
  ])('is not shown to the client: %s', async (_name, question, blocks, method) => {
    publish(blocks);
    const session = await begin();
    const call = await begunCall(session);
    say(1, question);
    await expect.poll(() => answers).toMatchObject([REFUSED]);
    finish(1);
    await call.closed;
    expect(call.messages.map((each) => each.method)).toEqual(['notifications/progress', undefined]);
    expect(about(method)).toMatchObject([
      { stage: 'decided', from: 'server', kind: 'request', allow: false },
    ]);
  });

  test('is not shown on the stream of the session either, where it may belong to any open call', async () => {
    publish({ elicitation: { allow: ['*'], deny: ['get-env'] } });
    const session = await begin();
    const stream = await listening(session);
    const [call, denied] = [await begunCall(session, 1), await begunCall(session, 2, 'get-env')];
    say('GET', FORM);
    await expect.poll(() => answers).toMatchObject([REFUSED]);
    finish(2);
    await denied.closed;
    say('GET', FORM.replace('s1', 's2'));
    expect(await stream.message()).toMatchObject({ method: 'elicitation/create' });
    finish(1);
    await call.closed;
  });

  test('passes outside every call only by a rule for all', async () => {
    publish({ elicitation: { allow: ['e*', 'get-*'] } });
    const session = await begin();
    const stream = await listening(session);
    say('GET', FORM);
    await expect.poll(() => answers).toMatchObject([REFUSED]);
    publish({ elicitation: { allow: ['*'] } });
    say('GET', FORM);
    const { id: asked } = await stream.message();
    expect((await post(answer(asked, ACCEPTED), session)).status).toBe(202);
    expect(answers.slice(1)).toEqual([{ jsonrpc: '2.0', id: 's1', result: ACCEPTED }]);
  });
});

describe('M146 an answer to no open question', () => {
  test.each<[string, (asked: string | number) => string]>([
    ['to an id that nobody asked with', () => answer('never', ACCEPTED)],
    ["to the server's own id", () => answer('s1', ACCEPTED)],
    [
      'an error of the client, to such an id',
      () => JSON.stringify({ jsonrpc: '2.0', id: 's1', error: { code: -1, message: 'no' } }),
    ],
  ])('is refused: %s', async (_name, body) => {
    const { session, call, question } = await questioned();
    expect((await post(body(question.id), session)).status).toBe(400);
    expect(answers).toEqual([]);
    // The question is still open.
    expect((await post(answer(question.id, ACCEPTED), session)).status).toBe(202);
    expect(answers).toEqual([{ jsonrpc: '2.0', id: 's1', result: ACCEPTED }]);
    finish(1);
    await call.closed;
  });

  test('is refused the second time', async () => {
    const { session, question } = await questioned();
    await post(answer(question.id, ACCEPTED), session);
    expect((await post(answer(question.id, ACCEPTED), session)).status).toBe(400);
    expect(answers).toHaveLength(1);
  });

  test('is refused in another session, of the same caller or of another, and with no session', async () => {
    const { session, question } = await questioned();
    const body = answer(question.id, ACCEPTED);
    expect((await post(body, await begin())).status).toBe(400);
    const other = world.td.svid(OTHER);
    expect((await post(body, await begin(other), other)).status).toBe(400);
    expect((await post(body, session, other)).status).toBe(404);
    expect((await post(body)).status).toBe(400);
    expect(answers).toEqual([]);
  });

  test('is refused once its call is over', async () => {
    const { session, call, question } = await questioned();
    finish(1);
    await call.closed;
    await expect.poll(() => answers).toMatchObject([{ id: 's1', error: { code: -31403 } }]);
    expect((await post(answer(question.id, ACCEPTED), session)).status).toBe(400);
    expect(answers).toHaveLength(1);
  });
});

test('a question for roots on the stream of a session does not end with a call that is open meanwhile', async () => {
  const session = await begin();
  const stream = await listening(session);
  const call = await begunCall(session);
  say('GET', ROOTS);
  const question = await stream.message();
  finish(1);
  await call.closed;
  expect((await post(answer(question.id, { roots: [] }), session)).status).toBe(202);
  expect(answers).toEqual([{ jsonrpc: '2.0', id: 's1', result: { roots: [] } }]);
});

describe('M147 an answer that is none to its question', () => {
  test.each<[string, string, object]>([
    ['roots for a form', FORM, { roots: [] }],
    ['a form for sampling', SAMPLE, ACCEPTED],
    ['an action that there is not', FORM, { action: 'maybe' }],
    ['a message for roots', ROOTS, SAMPLED],
    ['nothing', BY_URL, {}],
  ])('is refused, and the server is told that none comes: %s', async (_name, question, result) => {
    const { session, question: asked } = await questioned(question);
    expect((await post(answer(asked.id, result), session)).status).toBe(400);
    await expect.poll(() => answers).toMatchObject([REFUSED]);
    expect((await post(answer(asked.id, ACCEPTED), session)).status).toBe(400);
    expect(answers).toHaveLength(1);
  });
});

describe('M148 while a question is open', () => {
  test('a policy that denies it keeps the answer from the server', async () => {
    const { session, question } = await questioned();
    publish({ elicitation: { allow: ['*'], deny: ['echo'] } });
    expect((await post(answer(question.id, ACCEPTED), session)).status).toBe(202);
    await expect.poll(() => answers).toMatchObject([REFUSED]);
    expect(about('elicitation/create')).toMatchObject([
      { stage: 'decided', allow: true },
      { stage: 'answered', from: 'client', allow: false, rule: 'rule-0' },
    ]);
    expect((await post(answer(question.id, ACCEPTED), session)).status).toBe(400);
  });

  test.each(['the client leaves its call', 'the session ends'])('%s, and the server is told', async (how) => {
    const { session, call } = await questioned();
    if (how === 'the session ends') await callerOf(() => world).other('DELETE', session);
    call.leave();
    await expect
      .poll(() => about('elicitation/create'))
      .toMatchObject([
        { stage: 'decided', allow: true },
        { stage: 'answered', outcome: 'unknown', requestId: 's1' },
      ]);
    // A session that is over has nobody to tell.
    if (how !== 'the session ends') await expect.poll(() => answers).toMatchObject([REFUSED]);
  });

  test('the server takes it back, under the id that its client knows', async () => {
    const { session, call, question } = await questioned();
    say(1, rpc('notifications/cancelled', { requestId: 's1', reason: 'enough' }));
    expect(await call.message(2)).toMatchObject({
      method: 'notifications/cancelled',
      params: { requestId: question.id, reason: 'enough' },
    });
    expect((await post(answer(question.id, ACCEPTED), session)).status).toBe(400);
    expect(answers).toEqual([]);
  });

  test('the server takes back what it did not ask: the question stays open', async () => {
    const { session, call, question } = await questioned();
    for (const requestId of [question.id, 's2', 1]) say(1, rpc('notifications/cancelled', { requestId }));
    await call.message(4);
    expect((await post(answer(question.id, ACCEPTED), session)).status).toBe(202);
    expect(answers).toEqual([{ jsonrpc: '2.0', id: 's1', result: ACCEPTED }]);
  });
});

describe('M149 the id of a question', () => {
  test('is never that of the server, and never one that was used before', async () => {
    const { session, call, question } = await questioned();
    await post(answer(question.id, ACCEPTED), session);
    say(1, FORM);
    const again = await call.message(2);
    expect(new Set(['s1', question.id, again.id]).size).toBe(3);
    // The answer to the first one does not answer the second.
    expect((await post(answer(question.id, ACCEPTED), session)).status).toBe(400);
    expect(answers).toHaveLength(1);
  });

  test('is not taken twice while it is open: the second question is dropped', async () => {
    const { session, call, question } = await questioned();
    say(1, SAMPLE);
    await expect.poll(() => about('sampling/createMessage')).toMatchObject([{ stage: 'dropped' }]);
    await post(answer(question.id, ACCEPTED), session);
    expect(answers).toEqual([{ jsonrpc: '2.0', id: 's1', result: ACCEPTED }]);
    finish(1);
    await call.closed;
    expect(call.messages).toHaveLength(3);
  });

  test('stays where the server sends a question once more, and one record has it', async () => {
    const { session, question } = await questioned();
    const stream = await listening(session);
    say('GET', FORM);
    expect(await stream.message()).toMatchObject({ id: question.id });
    expect(about('elicitation/create')).toHaveLength(1);
  });

  test('says nothing of the questions in another session', async () => {
    const [one, two] = [await begin(), await begin()];
    const [first, second] = [await begunCall(one, 1), await begunCall(two, 2)];
    say(1, FORM);
    say(2, FORM);
    const [a, b] = [await first.message(1), await second.message(1)];
    expect(a.id).not.toBe(b.id);
    expect((await post(answer(b.id, ACCEPTED), one)).status).toBe(400);
    expect((await post(answer(b.id, ACCEPTED), two)).status).toBe(202);
    expect((await post(answer(a.id, ACCEPTED), one)).status).toBe(202);
  });
});

describe('M150 a server that asks without end', () => {
  test('gets an error for the 17th open question of a call; what it asked before is answered', async () => {
    const session = await begin();
    const call = await begunCall(session);
    for (let n = 0; n < 17; n += 1) say(1, FORM.replace('s1', `s${n}`));
    await expect.poll(() => answers).toMatchObject([{ id: 's16', error: { code: -31403 } }]);
    const last = await call.message(16);
    expect((await post(answer(last.id, ACCEPTED), session)).status).toBe(202);
    expect(answers[1]).toMatchObject({ id: 's15', result: ACCEPTED });
    say(1, FORM.replace('s1', 'more'));
    expect(await call.message(17)).toMatchObject({ method: 'elicitation/create' });
  });

  test('gets an error for the 65th of a session', async () => {
    const session = await begin();
    const stream = await listening(session);
    for (let n = 0; n < 65; n += 1) say('GET', ROOTS.replace('s1', `s${n}`));
    await expect.poll(() => answers).toMatchObject([{ id: 's64', error: { code: -31403 } }]);
    expect(stream.messages).toHaveLength(64);
  });

  test('gets an error for the 101st of a call, answered or not', async () => {
    const session = await begin();
    const call = await begunCall(session);
    for (let n = 1; n <= 100; n += 1) {
      say(1, ROOTS);
      await post(answer((await call.message(n)).id, { roots: [] }), session);
    }
    say(1, ROOTS);
    await expect.poll(() => answers[100]).toMatchObject(REFUSED);
    expect(call.messages).toHaveLength(101);
  });
});

describe('M151 what a client can answer', () => {
  const CAN = { sampling: { tools: {} }, elicitation: { form: {}, url: {} }, roots: { listChanged: true } };
  test.each<[object, object]>([
    [{}, {}],
    [ALL, CAN],
    [{ sampling: { allow: ['other'] } }, { sampling: { tools: {} } }],
    [{ elicitation: { allow: ['*'] } }, { elicitation: { form: {} } }],
    [{ elicitation: { allow: ['*'], modes: ['url'] } }, { elicitation: { url: {} } }],
    [{ elicitation: { deny: ['*'] }, roots: true }, { roots: { listChanged: true } }],
  ])('is told to the server as far as %j lets it ask', async (blocks, expected) => {
    publish(blocks);
    const capabilities = { ...CAN, tasks: {}, experimental: { x: {} } };
    await post(rpc('initialize', { protocolVersion: '2025-11-25', capabilities }, 0));
    expect(server.seen[0]?.json.params.capabilities).toEqual(expected);
  });
});

describe('M155 a call that needs a URL first', () => {
  const NEEDS = { code: -32042, message: 'open it', data: { elicitations: [{ url: 'https://a.example' }] } };
  const DONE = rpc('notifications/elicitation/complete', { elicitationId: 'e' });
  test.each<[string, object, number, boolean]>([
    ['a rule for URLs', { elicitation: { allow: ['echo'], modes: ['url'] } }, -32042, true],
    ['a rule for forms', { elicitation: { allow: ['*'] } }, -31403, false],
    ['a rule for another tool', { elicitation: { allow: ['other'], modes: ['url'] } }, -31403, true],
    ['no rule', {}, -31403, false],
  ])('says so with %s only as it allows', async (_name, blocks, code, told) => {
    publish(blocks);
    const session = await begin();
    const call = await begunCall(session);
    say(1, DONE);
    open.get(1)?.end(`data: ${JSON.stringify({ jsonrpc: '2.0', id: 1, error: NEEDS })}\n\n`);
    await call.closed;
    expect(call.messages.at(-1)?.error.code).toBe(code);
    expect(JSON.stringify(call.messages).includes('a.example')).toBe(code === -32042);
    expect(call.messages.some(({ method }) => method === 'notifications/elicitation/complete')).toBe(told);
  });
});

test('M156 a question and its answer have one record each, with digests and nothing in clear', async () => {
  const { session, call, question } = await questioned();
  await post(answer(question.id, ACCEPTED), session);
  await expect.poll(() => about('elicitation/create')).toHaveLength(2);
  finish(1);
  await call.closed;
  const [asked, answered] = about('elicitation/create');
  expect(asked).toMatchObject({
    ...{ stage: 'decided', from: 'server', kind: 'request', requestId: 's1', tool: 'echo' },
    ...{ allow: true, rule: 'rule-0', session: session['mcp-session-id'] },
    argumentsSha256: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  expect(answered).toMatchObject({
    ...{ id: asked?.id, stage: 'answered', from: 'client', kind: 'response', requestId: 's1', tool: 'echo' },
    ...{ outcome: 'result', session: session['mcp-session-id'] },
    resultSha256: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  const records = JSON.stringify(world.events);
  for (const secret of ['Alice', 'Name?']) expect(records).not.toContain(secret);
});

describe('M223 a question on the stream of another request than a call', () => {
  const USES = { tasks: { allow: ['*'] }, subscriptions: { allow: ['*'] }, resources: { allow: ['*'] } };
  const ABOUT_TASK = ['tasks/result', 'tasks/get', 'tasks/cancel'];
  const DENIED = { allow: ['*'], deny: ['deploy'] };
  const tasked = async (elicitation: object): Promise<Session> => {
    publish({ ...USES, elicitation });
    const session = await begin();
    expect((await post(callOf(1, 'deploy', { task: {} }), session)).json.result).toEqual({ task: TASK });
    return session;
  };

  test.each(ABOUT_TASK)('%s is decided by the tool of its task', async (method) => {
    const session = await tasked(DENIED);
    await begun(session, 2, rpc(method, { taskId: 't1' }, 2));
    say(2, FORM);
    await expect.poll(() => answers).toMatchObject([REFUSED]);
    expect(about('elicitation/create')).toMatchObject([{ stage: 'decided', allow: false, tool: 'deploy' }]);
  });

  test.each(ABOUT_TASK)('%s passes where a rule is about the tool of its task', async (method) => {
    const session = await tasked({ allow: ['deploy'] });
    const stream = await begun(session, 2, rpc(method, { taskId: 't1' }, 2));
    say(2, FORM);
    const { id: asked } = await stream.message(1);
    expect((await post(answer(asked, ACCEPTED), session)).status).toBe(202);
    expect(answers).toEqual([{ jsonrpc: '2.0', id: 's1', result: ACCEPTED }]);
  });

  test.each<[string, object]>([
    ['ping', {}],
    ['tools/list', {}],
    ['resources/subscribe', { uri: 'a:b' }],
  ])('%s, which is no use, may belong to any open call', async (method, params) => {
    publish({ ...USES, elicitation: DENIED });
    const session = await begin();
    const call = await begunCall(session, 1, 'deploy');
    const stream = await begun(session, 2, rpc(method, params, 2));
    say(2, FORM);
    await expect.poll(() => answers).toMatchObject([REFUSED]);
    finish(1);
    await call.closed;
    say(2, FORM.replace('s1', 's2'));
    expect(await stream.message(1)).toMatchObject({ method: 'elicitation/create' });
  });

  test.each<[string, object]>([
    ['tasks/result', { taskId: 't1' }],
    ['resources/subscribe', { uri: 'a:b' }],
  ])('%s gets no error that wants a URL without a rule', async (method, params) => {
    const session = await tasked({ allow: ['*'] });
    const stream = await begun(session, 2, rpc(method, params, 2));
    const error = { code: -32042, message: 'x', data: { elicitations: [{ url: 'https://a.example' }] } };
    open.get(2)?.end(`data: ${JSON.stringify({ jsonrpc: '2.0', id: 2, error })}\n\n`);
    expect((await stream.message(1)).error.code).toBe(-31403);
  });
});
