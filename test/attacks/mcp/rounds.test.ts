/** Attacks with questions of a server to its client, and with answers to them, in the modern era. */
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Answer, ask } from '../../kit/mcp/clients/ask.ts';
import { MODERN_META, modernHeaders, rpc, startPlayed, stopPlayed } from '../../kit/mcp/clients/caller.ts';
import { type FakeServer, reply } from '../../kit/mcp/servers/server.ts';
import { id, startWorld, TOOLS, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

const OTHER = id('agents/other');
const HOUR = 3_600_000;
let aheadMs = 0;
const clock = { ...systemClock, now: () => new Date(Date.now() + aheadMs) };
let server: FakeServer;
let world: World;
let version = 10n;
/** What the server answers to whatever it is asked. */
let result: object;

beforeEach(async () => {
  aheadMs = 0;
  ({ server, world } = await startPlayed({ clock }));
  server.say = ({ json }, res) => reply(res, { jsonrpc: '2.0', id: json.id, result });
  publish(ALL);
});
afterEach(() => stopPlayed(world, server));

const ALL = {
  sampling: { allow: ['*'] },
  elicitation: { allow: ['*'], modes: ['form', 'url'] },
  roots: true,
};
function publish(blocks: object, of: World = world): void {
  const address = `127.0.0.1:${of.gateway.port}`;
  const everything = { kind: 'McpServer', name: 'everything', identity: TOOLS, address };
  const uses = { tools: { allow: ['*'] }, prompts: { allow: ['*'] }, resources: { allow: ['*'] } };
  const rule = { kind: 'Access', name: 'rule-0', who: [TRIAGE, OTHER], servers: ['everything'] };
  version += 1n;
  const rules = [McpServer.parse(everything), Access.parse({ ...rule, ...uses, ...blocks })];
  of.policy.publish(compilePolicy(rules, version));
}

const FORM = { method: 'elicitation/create', params: { message: 'Name?', requestedSchema: {} } };
const BY_URL = {
  method: 'elicitation/create',
  params: { mode: 'url', url: 'https://a.example', message: 'm' },
};
const SAMPLE = { method: 'sampling/createMessage', params: { messages: [], maxTokens: 9 } };
const ROOTS = { method: 'roots/list', params: {} };
const ACCEPTED = { action: 'accept', content: { name: 'Alice' } };
const SAMPLED = { role: 'assistant', model: 'm', content: { type: 'text', text: 'x' } };
const asks = (inputRequests: object | undefined, requestState: unknown = 'of the server') => ({
  ...{ resultType: 'input_required', inputRequests, requestState },
});
const DONE = { resultType: 'complete', content: [], contents: [], messages: [] };

interface Given {
  readonly requestState?: unknown;
  readonly inputResponses?: unknown;
}
interface How {
  readonly as?: typeof TRIAGE;
  readonly method?: string;
  readonly params?: object;
  readonly of?: World;
}
const CALL = { name: 'deploy', arguments: { where: 'here' } };
function asked(
  given: Given = {},
  { as = TRIAGE, method = 'tools/call', params = CALL, of = world }: How = {},
) {
  const body = rpc(method, { ...params, ...given, _meta: MODERN_META }, 1);
  const name = Reflect.get(params, method === 'resources/read' ? 'uri' : 'name');
  return ask(of, of.td.svid(as, 80_000), { body, headers: modernHeaders(method, name) });
}
const resultIn = ({ json }: Answer) =>
  json.result as unknown as { resultType: string; inputRequests?: object; requestState: string };
/** The state of a question as its client gets it. */
async function stateOf(inputRequests: object | undefined = { who: FORM }, how: How = {}, given: Given = {}) {
  result = asks(inputRequests);
  const { requestState } = resultIn(await asked(given, how));
  result = DONE;
  server.seen.length = 0;
  return requestState;
}
const sentOn = (): Given[] => server.seen.map(({ json }) => json.params as Given);
const about = (method: string) => world.events.filter((event) => event.method === method);
const DENIED = -31403;

const USES: [string, object][] = [
  ['tools/call', CALL],
  ['prompts/get', { name: 'greet', arguments: { a: 'b' } }],
  ['resources/read', { uri: 'file:///srv/a' }],
];

test.each(USES)(
  'a question in the place of an answer to %s passes, and so does its answer',
  async (method, params) => {
    result = asks({ who: FORM, roots: ROOTS });
    const first = resultIn(await asked({}, { method, params }));
    expect(first).toMatchObject({ resultType: 'input_required', inputRequests: { who: FORM, roots: ROOTS } });
    expect(first.requestState).not.toBe('of the server');
    result = DONE;
    const inputResponses = { who: ACCEPTED, roots: { roots: [] } };
    const { json } = await asked({ requestState: first.requestState, inputResponses }, { method, params });
    expect(json.error).toBeUndefined();
    expect(sentOn()[1]).toMatchObject({ ...params, inputResponses, requestState: 'of the server' });
  },
);

describe('M145 a question that no rule lets the server ask', () => {
  test.each<[string, object, object]>([
    ['sampling', { a: SAMPLE }, { elicitation: { allow: ['*'] }, roots: true }],
    ['a form', { a: FORM }, { sampling: { allow: ['*'] }, roots: true }],
    ['a URL, where forms may be', { a: BY_URL }, { elicitation: { allow: ['*'] } }],
    ['roots', { a: ROOTS }, { ...ALL, roots: undefined }],
    ['a form for another tool', { a: FORM }, { elicitation: { allow: ['other'] } }],
    [
      'a form during a tool that is denied it',
      { a: FORM },
      { elicitation: { allow: ['*'], deny: ['deploy'] } },
    ],
    ['one among others that may be asked', { a: FORM, b: SAMPLE, c: ROOTS }, { ...ALL, sampling: undefined }],
    ['a method that asks for nothing', { a: { method: 'tools/list' } }, ALL],
    ['a task of the client', { a: { ...SAMPLE, params: { task: {} } } }, ALL],
  ])('is not shown to the client: %s', async (_name, questions, blocks) => {
    publish(blocks);
    result = asks(questions);
    const { json, text } = await asked();
    expect(json.error).toMatchObject({ code: DENIED });
    expect(text).not.toContain('inputRequests');
    const denied = world.events.filter(({ from, allow }) => from === 'server' && allow === false);
    expect(denied).toMatchObject([{ stage: 'decided', kind: 'request', tool: 'deploy' }]);
  });

  test.each<[string, object]>([
    ['tools/list', {}],
    [
      'completion/complete',
      { ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'a', value: '' } },
    ],
    ['server/discover', {}],
  ])('is denied as an answer to %s, which is no place for one', async (method, params) => {
    publish({ ...ALL, completion: { allow: ['*'] } });
    result = asks({ a: FORM });
    const { json, text } = await asked({}, { method, params });
    expect(json.error).toMatchObject({ code: DENIED });
    expect(text).not.toContain('inputRequests');
  });

  test.each<[string, unknown]>([
    ['neither questions nor state', { resultType: 'input_required' }],
    ['questions that are a list', asks([FORM])],
    ['a question that is none', asks({ a: 5 })],
    ['33 questions', asks(Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`q${n}`, ROOTS])))],
    ['a long name', asks({ ['x'.repeat(129)]: ROOTS })],
    ['a state that is a number', asks({ a: FORM }, 5)],
    ['a state of more than a mebibyte', asks({ a: FORM }, 'x'.repeat(1_048_577))],
  ])('does not pass with %s', async (_name, said) => {
    result = said as object;
    const { json } = await asked();
    expect(json.error).toMatchObject({ code: -31502 });
    expect(json.result).toBeUndefined();
  });
});

describe('M152 the state of a question', () => {
  test.each<[string, How]>([
    ['another caller', { as: OTHER }],
    ['another tool', { params: { ...CALL, name: 'destroy' } }],
    ['other arguments', { params: { ...CALL, arguments: { where: 'there' } } }],
    ['no arguments', { params: { name: 'deploy' } }],
    ['another method', { method: 'prompts/get', params: CALL }],
    ['a read', { method: 'resources/read', params: { uri: 'file:///srv/a' } }],
  ])('is no good for %s', async (_name, how) => {
    const requestState = await stateOf();
    const { status, json } = await asked({ requestState, inputResponses: { who: ACCEPTED } }, how);
    expect([status, json.error.code]).toEqual([400, -32602]);
    expect(server.seen).toEqual([]);
    expect(world.events.filter(({ code }) => code === 'mcp_state')).toHaveLength(1);
    // It is still good for what it was made for.
    expect((await asked({ requestState })).json.error).toBeUndefined();
  });

  test.each<[string, (state: string) => string]>([
    ['with another end', (state) => `${state}x`],
    ['with another beginning', (state) => state.replace('.', '.A')],
    ["as the server's own", () => 'of the server'],
    ['of an empty text', () => ''],
    ["without the server's", (state) => state.replace('of the server', '')],
  ])('is refused %s', async (_name, change) => {
    const requestState = change(await stateOf());
    const { status } = await asked({ requestState, inputResponses: { who: ACCEPTED } });
    expect(status).toBe(400);
    expect(server.seen).toEqual([]);
  });

  test('is good for an hour', async () => {
    const requestState = await stateOf();
    aheadMs = HOUR - 60_000;
    expect((await asked({ requestState })).json.error).toBeUndefined();
    aheadMs = HOUR + 1_000;
    expect((await asked({ requestState })).status).toBe(400);
    expect(server.seen).toHaveLength(1);
  });

  test('is good at another gateway of the server, and at none of another trust domain', async () => {
    const requestState = await stateOf();
    for (const [td, status] of [
      [world.td, 200],
      [undefined, 400],
    ] as const) {
      const other = await startWorld(server.target, td === undefined ? { clock } : { clock, td });
      publish(ALL, other);
      expect((await asked({ requestState }, { of: other })).status).toBe(status);
      await other.close();
    }
    expect(sentOn()).toMatchObject([{ requestState: 'of the server' }]);
  });

  test('does not help where the rules have changed: call, question and answer are decided anew', async () => {
    const requestState = await stateOf();
    const given = { requestState, inputResponses: { who: ACCEPTED } };
    publish({ ...ALL, elicitation: { allow: ['*'], deny: ['deploy'] } });
    expect((await asked(given)).json.error.code).toBe(DENIED);
    publish({ ...ALL, tools: { allow: ['other'] } });
    expect((await asked(given)).json.error.code).toBe(DENIED);
    expect(server.seen).toEqual([]);
  });
});

describe('M153 an answer inside a request', () => {
  test('that was not asked for is left out', async () => {
    const requestState = await stateOf({ who: FORM });
    const inputResponses = { who: ACCEPTED, more: ACCEPTED, '': SAMPLED };
    await asked({ requestState, inputResponses });
    expect(sentOn()).toMatchObject([{ inputResponses: { who: ACCEPTED } }]);
    expect(Object.keys(Object(sentOn()[0]?.inputResponses))).toEqual(['who']);
  });

  test.each<[string, object, unknown]>([
    ['roots for a form', FORM, { roots: [] }],
    ['a form for sampling', SAMPLE, ACCEPTED],
    ['a number', FORM, 5],
    ['an action that there is not', BY_URL, { action: 'maybe' }],
    ['a message for roots', ROOTS, SAMPLED],
  ])('of another kind than its question is refused: %s', async (_name, question, given) => {
    const requestState = await stateOf({ who: question });
    expect((await asked({ requestState, inputResponses: { who: given } })).status).toBe(400);
    expect(server.seen).toEqual([]);
  });

  test.each<[string, Given]>([
    ['a list', { inputResponses: [ACCEPTED] }],
    ['null', { inputResponses: null }],
    [
      '33 answers',
      { inputResponses: Object.fromEntries(Array.from({ length: 33 }, (_, n) => [n, ACCEPTED])) },
    ],
    ['a state that is a number', { requestState: 5 }],
    ['what answers nothing', { inputResponses: { who: { some: 'thing' } } }],
  ])('is refused as %s', async (_name, given) => {
    expect((await asked(given)).status).toBe(400);
    expect(server.seen).toEqual([]);
  });

  test.each<[string, object, unknown, object]>([
    [
      'a form',
      { sampling: { allow: ['*'] } },
      ACCEPTED,
      { elicitation: { allow: ['deploy'], modes: ['url'] } },
    ],
    ['sampling', { elicitation: { allow: ['*'] } }, SAMPLED, { sampling: { allow: ['deploy'] } }],
    ['roots', { sampling: { allow: ['*'] } }, { roots: [] }, { roots: true }],
  ])('without a state is decided by its form: %s', async (_name, denying, given, allowing) => {
    result = DONE;
    publish(denying);
    expect((await asked({ inputResponses: { who: given } })).json.error.code).toBe(DENIED);
    expect(server.seen).toEqual([]);
    publish(allowing);
    expect((await asked({ inputResponses: { who: given } })).json.error).toBeUndefined();
    expect(sentOn()).toMatchObject([{ inputResponses: { who: given } }]);
  });
});

test('M150 a server that asks without end is stopped at the 101st time', async () => {
  let requestState = await stateOf();
  for (let n = 1; n < 100; n += 1)
    requestState = await stateOf({ who: FORM }, {}, { requestState, inputResponses: { who: ACCEPTED } });
  result = asks({ who: FORM });
  const { json } = await asked({ requestState });
  expect(json.error).toMatchObject({ code: DENIED, data: { reason: /asked 100 times/ } });
}, 60_000);

describe('M151 what a client can answer', () => {
  const KEY = 'io.modelcontextprotocol/clientCapabilities';
  const CAN = { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} };
  test.each<[object, object]>([
    [{}, {}],
    [ALL, CAN],
    [{ sampling: { allow: ['other'] }, roots: true }, { roots: {} }],
    [{ elicitation: { allow: ['dep*'] } }, { elicitation: { form: {} } }],
    [{ elicitation: { allow: ['*'], deny: ['deploy'] } }, {}],
  ])('is told to the server as far as %j lets it ask during this call', async (blocks, expected) => {
    publish(blocks);
    result = DONE;
    const _meta = { ...MODERN_META, [KEY]: { ...CAN, tasks: {} } };
    const body = rpc('tools/call', { ...CALL, _meta }, 1);
    await ask(world, world.td.svid(TRIAGE, 80_000), { body, headers: modernHeaders('tools/call', 'deploy') });
    expect(server.seen[0]?.json.params._meta[KEY]).toEqual(expected);
  });
});

test.each<[object, number]>([
  [{ elicitation: { allow: ['deploy'], modes: ['url'] } }, -32042],
  [{ elicitation: { allow: ['*'] } }, DENIED],
  [{}, DENIED],
])('M155 with %j a call that needs a URL first fails with %s', async (blocks, code) => {
  publish(blocks);
  const error = { code: -32042, message: 'open it', data: { elicitations: [{ url: 'https://a.example' }] } };
  server.say = ({ json }, res) => reply(res, { jsonrpc: '2.0', id: json.id, error });
  const { json, text } = await asked();
  expect(json.error.code).toBe(code);
  expect(text.includes('a.example')).toBe(code === -32042);
});

test('M156 a question and its answer have one record each, with digests and nothing in clear', async () => {
  const requestState = await stateOf({ who: FORM });
  await asked({ requestState, inputResponses: { who: ACCEPTED, more: ACCEPTED } });
  const [question, answer, ...more] = about('elicitation/create');
  expect(more).toEqual([]);
  expect(question).toMatchObject({
    ...{ stage: 'decided', from: 'server', kind: 'request', requestId: 'who', tool: 'deploy' },
    ...{ allow: true, rule: 'rule-0', argumentsSha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
  });
  expect(answer).toMatchObject({
    ...{ id: question?.id, stage: 'answered', from: 'client', kind: 'response', requestId: 'who' },
    ...{ tool: 'deploy', outcome: 'result', resultSha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
  });
  // Each of the two calls has its own.
  const calls = about('tools/call').map(({ stage, outcome }) => [stage, outcome]);
  expect(calls).toEqual([
    ['decided', undefined],
    ['answered', 'result'],
    ['decided', undefined],
    ['answered', 'result'],
  ]);
  const records = JSON.stringify(world.events);
  for (const secret of ['Alice', 'Name?', 'of the server']) expect(records).not.toContain(secret);
});
