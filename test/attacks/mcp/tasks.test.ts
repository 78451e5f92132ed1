/** Tasks: a call that goes on after its answer belongs to the identity that made it, and to the rules of today. */
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
import { hear } from '../../kit/mcp/clients/hear.ts';
import { type FakeServer, politely, reply, type Say, stream } from '../../kit/mcp/servers/server.ts';
import { id, TOOLS, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

const OTHER = id('agents/other');
const DENIED = -31403;
const RULES = { tools: { allow: ['echo', 'sum'] }, tasks: { allow: ['*'], deny: ['sum'] } };
const { tasks: _, ...CALLS } = RULES;
const ABOUT = ['tasks/get', 'tasks/result', 'tasks/cancel'];

let server: FakeServer;
let world: World;
let version: bigint;
let made: number;

/** What TRIAGE and OTHER may do from now on. */
function allow(blocks: object): void {
  const address = `127.0.0.1:${world.gateway.port}`;
  const where = McpServer.parse({ kind: 'McpServer', name: 'everything', identity: TOOLS, address });
  const rule = { kind: 'Access', name: 'rule', who: [TRIAGE, OTHER], servers: ['everything'], ...blocks };
  version += 1n;
  world.policy.publish(compilePolicy([where, Access.parse(rule)], version));
}

const task = (taskId: unknown) => ({ taskId, status: 'working', ttl: 60_000, hidden: 'HIDDEN' });
const plays: Say = (seen, res, req) => {
  const answer = (result: object) => reply(res, { jsonrpc: '2.0', id: seen.json.id, result });
  const taskId: unknown = seen.json?.params && Reflect.get(seen.json.params, 'taskId');
  switch (seen.json?.method) {
    case 'tools/call':
      if (Reflect.get(seen.json.params, 'task') === undefined) return politely(seen, res, req);
      made += 1;
      return answer({ task: task(`t${made}`), hidden: 'HIDDEN' });
    case 'tasks/get':
    case 'tasks/cancel':
      return answer({ ...task(taskId), tools: ['HIDDEN'] });
    case 'tasks/result':
      return answer({ content: [{ type: 'text', text: String(taskId) }] });
    case 'tasks/list':
      return answer({ tasks: [1, 2, 3].map((each) => task(`t${each}`)), nextCursor: 'c' });
    case 'initialize': {
      const capabilities = { tools: {}, tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } };
      return answer({ protocolVersion: '2025-11-25', capabilities, serverInfo: {} });
    }
    default:
      return politely(seen, res, req);
  }
};

beforeEach(async () => {
  [version, made] = [10n, 0];
  ({ server, world } = await startPlayed({ who: [TRIAGE, OTHER] }));
  allow(RULES);
  server.say = plays;
});
afterEach(() => stopPlayed(world, server));

const post = (method: string, params: object, caller = TRIAGE) =>
  ask(world, world.td.svid(caller), { body: rpc(method, params, 1) });
const make = (caller = TRIAGE, name = 'echo', more: object = { task: { ttl: 60_000 } }) =>
  post('tools/call', { name, ...more }, caller);
const seenOf = (method: string) => server.seen.filter(({ json }) => json?.method === method);

test('a caller makes a task, and asks for its state, its result and its end', async () => {
  expect((await make()).json.result).toEqual({ task: { taskId: 't1', status: 'working', ttl: 60_000 } });
  expect(seenOf('tools/call')[0]?.json.params).toMatchObject({ task: { ttl: 60_000 } });
  for (const method of ['tasks/get', 'tasks/cancel'])
    expect((await post(method, { taskId: 't1' })).json.result).toEqual({
      ...{ taskId: 't1', status: 'working', ttl: 60_000 },
    });
  expect((await post('tasks/result', { taskId: 't1' })).json.result.content[0].text).toBe('t1');
  const records = world.events.filter(({ method }) => method === 'tasks/get');
  expect(records).toMatchObject([{ stage: 'decided', tool: 'echo', allow: true }, { stage: 'answered' }]);
});

describe("M163 another identity's task", () => {
  test.each(ABOUT)('%s is refused as of a task that is not there', async (method) => {
    await make();
    const [others, none] = [
      await post(method, { taskId: 't1' }, OTHER),
      await post(method, { taskId: 'none' }, OTHER),
    ];
    const told = ({ error }: typeof others.json) => ({ ...error, data: { ...error.data, decisionId: '' } });
    expect(others.json.error.code).toBe(DENIED);
    expect(told(others.json)).toEqual(told(none.json));
    expect(seenOf(method)).toEqual([]);
    expect((await post(method, { taskId: 't1' })).json.result).toBeDefined();
  });

  test('is on no list but its own', async () => {
    await make();
    await make(OTHER);
    const listed = async (caller: typeof TRIAGE) => {
      const { json } = await post('tasks/list', {}, caller);
      expect(JSON.stringify(json)).not.toContain('HIDDEN');
      return [Reflect.get(json.result, 'tasks'), Reflect.get(json.result, 'nextCursor')];
    };
    const own = (taskId: string) => ({ taskId, status: 'working', ttl: 60_000 });
    expect(await listed(TRIAGE)).toEqual([[own('t1')], 'c']);
    expect(await listed(OTHER)).toEqual([[own('t2')], 'c']);
  });

  test('is not told to this one', async () => {
    await make();
    await make(OTHER);
    const method = 'notifications/tasks/status';
    const status = (taskId: unknown) => ({ jsonrpc: '2.0', method, params: task(taskId) });
    server.say = (_seen, res) => stream(res, ['t2', 't3', 7, 't1'].map(status));
    const heard = hear(world, world.td.svid(TRIAGE), {});
    await heard.ended;
    const params = { taskId: 't1', status: 'working', ttl: 60_000 };
    expect(heard.messages()).toEqual([{ jsonrpc: '2.0', method, params }]);
  });
});

describe('M164 a task that no rule allows', () => {
  test.each<[string, object, string]>([
    ['without a rule about tasks', CALLS, 'echo'],
    ['of a tool that a deny names', RULES, 'sum'],
    ['of a tool that may not be called', RULES, 'other'],
    ['of a tool under a rule about tasks alone', { ...RULES, tools: { allow: ['sum'] } }, 'echo'],
  ])('%s is not made', async (_name, rules, tool) => {
    allow(rules);
    expect((await make(TRIAGE, tool)).json.error.code).toBe(DENIED);
    expect(server.seen).toEqual([]);
  });

  test.each<[string, object]>([
    ['a task that is null', { task: null }],
    ['a task that is a list', { task: [] }],
    ['a task with more', { task: { ttl: 1, name: 'sum' } }],
    ['a ttl that is a text', { task: { ttl: '1' } }],
    ['a ttl before its start', { task: { ttl: -1 } }],
  ])('%s is not read', async (_name, more) => {
    expect((await make(TRIAGE, 'echo', more)).json.error.code).toBe(-32600);
    expect(server.seen).toEqual([]);
  });

  test.each<[string, object]>([
    ['a number', { taskId: 1 }],
    ['a long text', { taskId: 't'.repeat(257) }],
    ['more beside it', { taskId: 't1', name: 'echo' }],
    ['none', {}],
  ])('an id that is %s is not read', async (_name, params) => {
    await make();
    for (const method of ABOUT) expect((await post(method, params)).json.error.code).toBe(-32600);
    expect(server.seen).toHaveLength(1);
  });

  test('a client does not learn of tasks, and gets no list of them', async () => {
    const capabilities = async () =>
      (await ask(world, world.td.svid(TRIAGE), { body: INITIALIZE })).json.result.capabilities;
    expect(await capabilities()).toMatchObject({ tasks: { list: {}, requests: { tools: { call: {} } } } });
    allow(CALLS);
    expect(Object.keys(await capabilities())).toEqual(['tools']);
    expect((await post('tasks/list', {})).json.error.code).toBe(DENIED);
  });

  test('the modern era has none', async () => {
    await make();
    const modern = (method: string, params: object, name?: string) =>
      ask(world, world.td.svid(TRIAGE), {
        body: rpc(method, { ...params, _meta: MODERN_META }, 1),
        headers: modernHeaders(method, name),
      });
    const call = await modern('tools/call', { name: 'echo', task: {} }, 'echo');
    expect(call.json.error.code).toBe(-32600);
    for (const method of [...ABOUT, 'tasks/list'])
      expect((await modern(method, { taskId: 't1' })).json.error).toBeDefined();
    expect(server.seen).toHaveLength(1);
  });
});

describe('M165 a task whose rule a new policy takes away', () => {
  const rules: [string, object][] = [
    ['about tasks', CALLS],
    ['about its tool', { ...RULES, tools: { allow: ['sum'] } }],
  ];
  test.each(rules)('%s: nothing of it is answered, and it is on no list', async (_name, less) => {
    await make();
    allow({ ...less, tasks: 'tasks' in less ? RULES.tasks : { allow: ['none'] } });
    for (const method of ABOUT) expect((await post(method, { taskId: 't1' })).json.error.code).toBe(DENIED);
    const { json } = await post('tasks/list', {});
    expect(Reflect.get(json.result, 'tasks')).toEqual([]);
    expect(seenOf('tasks/get')).toEqual([]);
  });

  test.each(rules)('%s: what waits for its result is cut', async (_name, less) => {
    await make();
    server.say = ({ json }, res, req) => {
      if (json.method !== 'tasks/result') return plays({ json } as Parameters<Say>[0], res, req);
      allow(less);
    };
    await expect(post('tasks/result', { taskId: 't1' })).rejects.toThrow();
  });
});

describe('M166 a server that answers about another task', () => {
  test.each(['tasks/get', 'tasks/cancel'])('%s: the answer does not pass', async (method) => {
    await make();
    server.say = ({ json }, res) => reply(res, { jsonrpc: '2.0', id: json.id, result: task('t2') });
    const { json, text } = await post(method, { taskId: 't1' });
    expect(json.error.message).toMatch(/answered about another task/);
    expect(text).not.toContain('working');
  });

  test.each<[string, unknown]>([
    ['a number', 7],
    ['a long text', 't'.repeat(257)],
  ])('a new task whose id is %s does not pass', async (_name, taskId) => {
    server.say = ({ json }, res) =>
      reply(res, { jsonrpc: '2.0', id: json.id, result: { task: task(taskId) } });
    expect((await make()).json.error.message).toMatch(/has no id/);
  });

  test('a task that nobody asked for belongs to nobody', async () => {
    server.say = ({ json }, res) => reply(res, { jsonrpc: '2.0', id: json.id, result: { task: task('t1') } });
    await make(TRIAGE, 'echo', {});
    server.say = plays;
    expect((await post('tasks/get', { taskId: 't1' })).json.error.code).toBe(DENIED);
  });
});

test('M167 more tasks than one caller may have are denied, and another caller has its own', async () => {
  for (let count = 0; count < 256; count += 1) expect((await make()).json.result).toBeDefined();
  expect((await make()).json.error).toMatchObject({
    code: DENIED,
    data: { reason: expect.stringMatching(/may not have more tasks/) },
  });
  expect(seenOf('tools/call')).toHaveLength(256);
  // A call that is no task goes on, and so does what is asked of a task.
  expect((await make(TRIAGE, 'echo', {})).json.result).toBeDefined();
  expect((await post('tasks/get', { taskId: 't1' })).json.result).toBeDefined();
  expect((await make(OTHER)).json.result).toBeDefined();
}, 120_000);
