/** A caller that asks which tools it may call learns what a denied call would tell it, and no more: M203 to M205, M227. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { ALLOWED, MAX_ASKED, readAllowed, writeAsked } from '@chancery/agent/mcp/wire/allowed.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ManualClock } from '../../kit/manual-clock.ts';
import { type Answer, ask } from '../../kit/mcp/clients/ask.ts';
import { callOf } from '../../kit/mcp/clients/caller.ts';
import { countEvaluations } from '../../kit/mcp/evaluations.ts';
import { type FakeServer, startFakeServer } from '../../kit/mcp/servers/server.ts';
import {
  id,
  STRANGER,
  startWorld,
  TOOLS,
  TRIAGE,
  type World,
  type WorldOptions,
} from '../../kit/mcp/world/world.ts';

const OTHER = id('agents/other');

let server: FakeServer;
let world: World;
beforeEach(async () => {
  server = await startFakeServer();
  await open();
});
afterEach(async () => {
  await world.close();
  await server.close();
});

async function open(options: WorldOptions = {}): Promise<void> {
  const others = [{ server: 'mail', upstream: server.target }];
  world = await startWorld(server.target, { ...options, others });
  allow({ tools: { allow: ['echo', 'get-*'], deny: ['get-env'] } });
}

/** `payroll` is registered for the gateway's identity, and not behind it. */
function allow(...rules: readonly object[]): void {
  const address = `127.0.0.1:${world.gateway.port}`;
  const servers = ['everything', 'mail', 'payroll'].map((name) =>
    McpServer.parse({ kind: 'McpServer', name, identity: TOOLS, address }),
  );
  const all = rules.map((rule, n) =>
    Access.parse({ kind: 'Access', name: `rule-${n}`, who: [TRIAGE], servers: ['everything'], ...rule }),
  );
  const other = { kind: 'Access', name: 'other', who: [OTHER], servers: ['mail'], tools: { allow: ['*'] } };
  world.policy.publish(compilePolicy([...servers, ...all, Access.parse(other)], 10n));
}

const post = (name: string, body: string | Uint8Array, caller = TRIAGE, more = {}): Promise<Answer> =>
  ask(world, world.td.svid(caller), { path: `${ALLOWED}${name}`, body, ...more });
const asking = (...tools: string[]): string => writeAsked(tools);
const call = (tool: string): Promise<Answer> =>
  ask(world, world.td.svid(TRIAGE), { path: '/mcp/everything', body: callOf(1, tool) });

async function told(...tools: string[]) {
  const { status, text } = await post('everything', asking(...tools));
  expect(status).toBe(200);
  return readAllowed(Buffer.from(text), tools);
}

test('a caller learns which tools it may call, and nothing reaches the server', async () => {
  expect(await told('echo', 'get-sum', 'get-env', 'new-tool')).toMatchObject({
    any: true,
    tools: [
      { tool: 'echo', may: 'yes', reason: undefined, rule: undefined },
      { tool: 'get-sum', may: 'yes', reason: undefined, rule: undefined },
      { tool: 'get-env', may: 'no', rule: 'rule-0' },
      { tool: 'new-tool', may: 'no', rule: undefined },
    ],
  });
  expect(server.seen).toEqual([]);
});

test.each([
  ['args.n == 1', 'maybe'],
  ['caller.id == "spiffe://prod.example/agents/other"', 'no'],
  ['now > timestamp("2020-01-01T00:00:00Z") && source == "127.0.0.1"', 'yes'],
] as const)('under the condition %s the answer is %s', async (when, may) => {
  allow({ when, tools: { allow: ['echo'] } });
  expect((await told('echo')).tools).toMatchObject([{ may }]);
});

test('a caller whose rules are about no tool may call none', async () => {
  allow({ resources: { allow: ['file:///**'] } });
  expect(await told()).toEqual({ any: false, tools: [] });
});

/** Without what differs by chance, and without the name that was asked for. */
function shapeOf({ status, headers, text }: Answer, name: string) {
  const { date: _date, ...rest } = headers;
  const plain = text.replace(/"decisionId":"[^"]+"/, '"decisionId":""').replaceAll(name, 'NAME');
  return { status, headers: { ...rest, 'chancery-server': 'NAME', 'content-length': '' }, text: plain };
}

describe('M203 who may not reach a server', () => {
  test('cannot tell it from one that is elsewhere or registered by nobody', async () => {
    const names = ['everything', 'payroll', 'nowhere', 'constructor'];
    const answers = await Promise.all(names.map((name) => post(name, asking('echo'), OTHER)));
    const shapes = answers.map((answer, n) => JSON.stringify(shapeOf(answer, names[n] ?? '')));
    expect(new Set(shapes).size).toBe(1);
    expect(answers[0]).toMatchObject({ status: 403, text: expect.stringContaining('-31403') });
    const denied = world.events.filter(({ stage, allow: may }) => stage === 'decided' && may === false);
    expect(denied.map(({ caller }) => caller)).toEqual(names.map(() => OTHER));
  });

  test('is refused by the head of the request: its body is not read', async () => {
    expect((await post('everything', '{', STRANGER)).status).toBe(403);
    expect((await post('everything', '{', TRIAGE)).status).toBe(400);
  });

  test.each(['', 'Everything', 'everything/', '../everything', '%65verything', 'everything?x'])(
    'gets no server by the path %s',
    async (name) => {
      expect(await post(name, asking('echo'))).toMatchObject({ status: 404 });
    },
  );

  test('learns by the answer about a tool what the denial of a call says', async () => {
    const [{ reason, rule } = {}] = (await told('get-env')).tools;
    const { data } = (await call('get-env')).json.error;
    expect({ reason, rule }).toEqual({ reason: data['reason'], rule: data['rule'] });
    const [unknown] = (await told('new-tool')).tools;
    expect(unknown?.reason).toBe((await call('new-tool')).json.error.data['reason']);
  });
});

test('M204 a policy that lets the caller in no longer, and comes between head and body, holds', async () => {
  const body = asking('echo');
  const looks = vi.spyOn(world.policy, 'current');
  const tls = {
    ...clientTls(world.td.svid(TRIAGE), world.td.bundle.current()),
    checkServerIdentity: () => undefined,
  };
  const where = { host: '127.0.0.1', port: world.gateway.port, path: `${ALLOWED}everything`, method: 'POST' };
  const headers = { 'content-type': 'application/json', 'content-length': body.length };
  const outgoing = request({ ...tls, ...where, headers, agent: false });
  outgoing.flushHeaders();
  await vi.waitFor(() => expect(looks).toHaveBeenCalled());
  // A caller that may reach no server of the gateway any more is cut off.
  allow({ servers: ['mail'], tools: { allow: ['*'] } });
  outgoing.end(body);
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  response.resume();
  expect(response.statusCode).toBe(403);
});

test('M204 a gateway that has not heard of its CA for too long says nothing', async () => {
  await world.close();
  await open({
    ensureHeard() {
      throw new IdentityError('ca_unheard', 'not heard');
    },
  });
  expect(await post('everything', asking('echo'))).toMatchObject({ status: 503 });
});

describe('M205 a question', () => {
  test.each<[string, string, number]>([
    [
      'of more tools than one may name',
      asking(...Array.from({ length: MAX_ASKED + 1 }, (_, n) => `t${n}`)),
      400,
    ],
    ['of more bytes', asking('x'.repeat(256 * 1024)), 413],
    ['about a number', '{"tools":[7]}', 400],
    ['about an empty name', '{"tools":[""]}', 400],
    ['that says more', '{"tools":[],"caller":"spiffe://prod.example/agents/other"}', 400],
    ['that is a list', '["echo"]', 400],
  ])('%s is refused', async (_, body, status) => {
    expect((await post('everything', body)).status).toBe(status);
    expect(server.seen).toEqual([]);
  });

  test('of as many tools as it may name is answered, each name as a call of it', async () => {
    const names = Array.from({ length: MAX_ASKED }, (_, n) => (n === 7 ? 'x'.repeat(129) : `get-${n}`));
    const { tools } = await told(...names);
    expect(tools.filter(({ may }) => may === 'yes')).toHaveLength(MAX_ASKED - 1);
    expect(tools[7]?.reason).toMatch(/129 characters/);
  });

  test('that is repeated is recorded once at a time', async () => {
    for (let n = 0; n < 50; n += 1) await told(`tool-${n}`);
    expect(world.events).toMatchObject([
      { stage: 'decided', httpMethod: 'POST', allow: true, detail: 'asks which tools it may call' },
    ]);
    await world.close();
    expect(world.events.at(-1)).toMatchObject({ count: 49 });
  });

  test('whose record cannot be written is not answered', async () => {
    await world.close();
    await open({
      record() {
        throw new IdentityError('audit_spool', 'full');
      },
    });
    expect(await post('everything', asking('echo'))).toMatchObject({ status: 503 });
  });

  test('in another form than POST is none', async () => {
    expect(await post('everything', '', TRIAGE, { method: 'GET' })).toMatchObject({ status: 405 });
    const headers = { 'content-type': 'text/plain' };
    expect(await post('everything', asking('echo'), TRIAGE, { headers })).toMatchObject({ status: 415 });
  });
});

describe('M227 the work of a question is bounded', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });
  const names = Array.from({ length: MAX_ASKED }, (_, n) => `get-${n}`);
  const tools = { allow: ['get-*'] };

  test('however many tools it names, a condition is evaluated once', async () => {
    const conditions = Array.from({ length: 20 }, (_, n) => `caller.id == "${TRIAGE}-${n}"`);
    conditions.push('args.n == 1 && source == "::"', 'args.n == 2 || server == "mail"');
    allow(...conditions.map((when) => ({ when, tools })));
    const evaluated = countEvaluations(conditions);
    expect(new Set((await told(...names)).tools.map(({ may }) => may))).toEqual(new Set(['maybe']));
    expect(evaluated()).toBe(conditions.length);
  });

  test('above the bound for conditions on the tool it is refused, and one about fewer tools is answered', async () => {
    const conditions = Array.from({ length: 100 }, (_, n) => `tool == "no-${n}"`);
    allow(...conditions.map((when) => ({ when, tools })));
    const evaluated = countEvaluations(conditions);
    const { status, text } = await post('everything', asking(...names));
    expect([status, text]).toEqual([400, expect.stringContaining('-32600')]);
    expect(evaluated()).toBe(25_100);
    expect((await told(...names.slice(0, 250))).tools).toHaveLength(250);
  });

  test('a caller asks about so many tools in a second, at whichever server, and others ask on', async () => {
    await world.close();
    const clock = new ManualClock(new Date());
    await open({ clock });
    allow({ who: [TRIAGE, OTHER], tools }, { servers: ['mail'], tools });
    const statusOf = async (name: string, caller = TRIAGE, asked = names) =>
      (await post(name, asking(...asked), caller)).status;
    for (let n = 0; n < 10; n += 1) expect(await statusOf(n % 2 === 0 ? 'everything' : 'mail')).toBe(200);
    expect(await statusOf('everything', TRIAGE, ['get-1'])).toBe(503);
    expect(world.events.at(-1)).toMatchObject({ stage: 'refused', code: 'rate', caller: TRIAGE });
    expect(await statusOf('everything', OTHER)).toBe(200);
    clock.jump(new Date(clock.now().getTime() + 1_000));
    expect(await statusOf('mail')).toBe(200);
    expect(await statusOf('mail')).toBe(503);
  });
});
